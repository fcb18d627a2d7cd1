package exportd

import (
	"encoding/binary"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// aclEntry grants rights to one class of users. The kernels of the clients enforce ACLs;
// exportd keeps them and the permission bits in step, by POSIX.1e draft 17 (chapter 23)
// and acl(5).
type aclEntry struct {
	tag  uint16
	perm uint16 // rwx
	id   uint32 // of the user or group, for tags that name one
}

// The tags, in the order in which entries stand.
const (
	aclUserObj  = 0x01 // the owner
	aclUser     = 0x02
	aclGroupObj = 0x04 // the owning group
	aclGroup    = 0x08
	aclMask     = 0x10 // bounds all but the owner and others
	aclOther    = 0x20
)

// The form in which the kernel passes an ACL: a version, then the entries, little endian.
const (
	aclVersion    = 2
	aclHeadBytes  = 4
	aclEntryBytes = 8
	aclNoID       = ^uint32(0)
)

type acl []aclEntry

func parseACL(b []byte) (acl, error) {
	if len(b) < aclHeadBytes || (len(b)-aclHeadBytes)%aclEntryBytes != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, vocab.Errorf(vocab.Invalid, "%d bytes are no ACL of version %d", len(b), aclVersion)
	}
	var a acl
	for b = b[aclHeadBytes:]; len(b) > 0; b = b[aclEntryBytes:] {
		a = append(a, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return a, a.check()
}

func (a acl) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// check: entries stand in the order of their tags, each class that must be there is there
// once, and a mask is there if somebody is named.
func (a acl) check() error {
	count := map[uint16]int{}
	last := uint16(0)
	for _, e := range a {
		switch e.tag {
		case aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther:
		default:
			return vocab.Errorf(vocab.Invalid, "an ACL entry has the tag %#x", e.tag)
		}
		if e.tag < last || e.perm > 7 {
			return vocab.Errorf(vocab.Invalid, "an ACL is out of order, or grants %#o", e.perm)
		}
		last = e.tag
		count[e.tag]++
	}
	named := count[aclUser] + count[aclGroup]
	if len(a) > 0 && (count[aclUserObj] != 1 || count[aclGroupObj] != 1 || count[aclOther] != 1 || count[aclMask] > 1 || named > 0 && count[aclMask] == 0) {
		return vocab.Errorf(vocab.Invalid, "an ACL lacks an entry, or has one twice")
	}
	return nil
}

// of returns the entry of a class; check has seen that those exist which must.
func (a acl) of(tag uint16) *aclEntry {
	if i := slices.IndexFunc(a, func(e aclEntry) bool { return e.tag == tag }); i >= 0 {
		return &a[i]
	}
	return nil
}

// group is the entry that the group's permission bits stand for: the mask, if there is one.
func (a acl) group() *aclEntry {
	if m := a.of(aclMask); m != nil {
		return m
	}
	return a.of(aclGroupObj)
}

// mode returns the permission bits that the ACL stands for. It is minimal if they say all.
func (a acl) mode() (perm uint32, minimal bool) {
	u, g, o := a.of(aclUserObj), a.group(), a.of(aclOther)
	return uint32(u.perm)<<6 | uint32(g.perm)<<3 | uint32(o.perm), len(a) == 3
}

// chmod makes the ACL follow new permission bits.
func (a acl) chmod(perm uint32) {
	a.of(aclUserObj).perm = uint16(perm >> 6 & 7)
	a.group().perm = uint16(perm >> 3 & 7)
	a.of(aclOther).perm = uint16(perm & 7)
}

// inherit makes a default ACL, copied, the access ACL of a new file, which gets no more
// rights than perm asks for, and returns what is left of these.
func (a acl) inherit(perm uint32) (acl, uint32) {
	n := slices.Clone(a)
	have, _ := n.mode()
	n.chmod(have & perm)
	return n, have & perm
}
