package exportd

import (
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/stretchr/testify/require"
)

func perms(u, g, o uint16) acl {
	return acl{{aclUserObj, u, aclNoID}, {aclGroupObj, g, aclNoID}, {aclOther, o, aclNoID}}
}

// shared lets user 7 read and write too, and others nothing.
func shared(mask uint16) acl {
	return acl{{aclUserObj, 7, aclNoID}, {aclUser, 6, 7}, {aclGroupObj, 5, aclNoID}, {aclMask, mask, aclNoID}, {aclOther, 0, aclNoID}}
}

func TestAnACLIsCodedAsTheKernelDoes(t *testing.T) {
	b := shared(7).encode()
	require.Len(t, b, 4+5*8)
	require.Equal(t, []byte{2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 6, 0, 7, 0, 0, 0}, b[:20])
	a, err := parseACL(b)
	require.NoError(t, err)
	require.Equal(t, shared(7), a)
	a, err = parseACL(acl{}.encode())
	require.NoError(t, err)
	require.Empty(t, a)
}

func TestWhatIsNoACLIsRefused(t *testing.T) {
	good := perms(7, 5, 5).encode()
	version := append([]byte{3}, good[1:]...)
	for what, b := range map[string][]byte{
		"nothing": {}, "cut": good[:len(good)-1], "another version": version,
		"no owner":      perms(7, 5, 5)[1:].encode(),
		"no others":     perms(7, 5, 5)[:2].encode(),
		"owner twice":   append(acl{{aclUserObj, 7, aclNoID}}, perms(7, 5, 5)...).encode(),
		"order":         acl{perms(7, 5, 5)[1], perms(7, 5, 5)[0], perms(7, 5, 5)[2]}.encode(),
		"no mask":       acl{{aclUserObj, 7, aclNoID}, {aclUser, 6, 7}, {aclGroupObj, 5, aclNoID}, {aclOther, 0, aclNoID}}.encode(),
		"odd rights":    perms(8, 5, 5).encode(),
		"odd tag":       acl{{aclUserObj, 7, aclNoID}, {aclGroupObj, 5, aclNoID}, {aclOther, 0, aclNoID}, {0x40, 0, 0}}.encode(),
		"two masks":     append(shared(7)[:4:4], aclEntry{aclMask, 7, aclNoID}, aclEntry{aclOther, 0, aclNoID}).encode(),
		"of other size": append(good, 0),
	} {
		_, err := parseACL(b)
		require.ErrorIs(t, err, vocab.Invalid, what)
	}
}

func TestAnACLStandsForPermissionBits(t *testing.T) {
	perm, minimal := perms(7, 5, 1).mode()
	require.EqualValues(t, 0o751, perm)
	require.True(t, minimal)
	perm, minimal = shared(6).mode()
	require.EqualValues(t, 0o760, perm, "the group's bits are the mask")
	require.False(t, minimal)
	a := shared(6)
	a.chmod(0o541)
	require.Equal(t, acl{{aclUserObj, 5, aclNoID}, {aclUser, 6, 7}, {aclGroupObj, 5, aclNoID}, {aclMask, 4, aclNoID}, {aclOther, 1, aclNoID}}, a)
	b := perms(7, 7, 7)
	b.chmod(0o421)
	require.Equal(t, perms(4, 2, 1), b)
}

func TestANewFileInheritsNoMoreThanItAsksFor(t *testing.T) {
	def := shared(7)
	a, perm := def.inherit(0o644)
	require.EqualValues(t, 0o640, perm)
	require.Equal(t, acl{{aclUserObj, 6, aclNoID}, {aclUser, 6, 7}, {aclGroupObj, 5, aclNoID}, {aclMask, 4, aclNoID}, {aclOther, 0, aclNoID}}, a)
	require.Equal(t, shared(7), def, "the default stays as it is")
	_, perm = perms(7, 5, 5).inherit(0o777)
	require.EqualValues(t, 0o755, perm)
}
