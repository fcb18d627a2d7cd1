package scenario

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Two users that have nothing to do with each other, nor with root.
const (
	alice = 70001
	bob   = 70002
	staff = 70003 // a group
)

// asUser runs a line of shell; groups are more of the user's.
func asUser(uid uint32, line string, groups ...uint32) (string, error) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func may(t *testing.T, uid uint32, line string, groups ...uint32) {
	t.Helper()
	out, err := asUser(uid, line, groups...)
	require.NoError(t, err, "%s: %s", line, out)
}

func mayNot(t *testing.T, uid uint32, line string, groups ...uint32) {
	t.Helper()
	out, err := asUser(uid, line, groups...)
	require.Error(t, err, "%s", line)
	require.Regexp(t, "(?i)permission denied|not permitted", out)
}

// An ACL as setxattr(2) takes it.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

type grant struct {
	tag, perm uint16
	id        uint32
}

func user(perm uint16) grant                     { return grant{0x01, perm, ^uint32(0)} }
func namedUser(id uint32, p uint16) grant        { return grant{0x02, p, id} }
func group(perm uint16) grant                    { return grant{0x04, perm, ^uint32(0)} }
func namedGroup(id uint32, p uint16) grant       { return grant{0x08, p, id} }
func mask(perm uint16) grant                     { return grant{0x10, perm, ^uint32(0)} }
func other(perm uint16) grant                    { return grant{0x20, perm, ^uint32(0)} }
func setACL(path, kind string, g ...grant) error { return unix.Setxattr(path, kind, aclBytes(g...), 0) }

func aclBytes(grants ...grant) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, g := range grants {
		b = binary.LittleEndian.AppendUint16(b, g.tag)
		b = binary.LittleEndian.AppendUint16(b, g.perm)
		b = binary.LittleEndian.AppendUint32(b, g.id)
	}
	return b
}

func mode(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st))
	return st.Mode &^ unix.S_IFMT
}

// What an ACL grants, users may, and no more; on every mount, from the next call on.
func TestACLsAreEnforced(t *testing.T) {
	c := start(t, options{})
	there := c.secondMount().point
	f, far := c.path("f"), filepath.Join(there, "f")
	require.NoError(t, os.WriteFile(f, []byte("content"), 0o600))
	mayNot(t, alice, "cat "+far)

	require.NoError(t, setACL(f, accessACL, user(6), namedUser(alice, 4), group(0), namedGroup(staff, 6), mask(6), other(0)))
	require.EqualValues(t, 0o660, mode(t, far), "the group's bits are the mask")
	for _, path := range []string{f, far} {
		may(t, alice, "cat "+path)
		mayNot(t, alice, "echo x >> "+path)
		mayNot(t, bob, "cat "+path)
		may(t, bob, "echo x >> "+path, staff)
	}
	require.NoError(t, os.Chmod(far, 0o600))
	for _, path := range []string{f, far} {
		mayNot(t, alice, "cat "+path)
		mayNot(t, bob, "cat "+path, staff)
	}
	require.NoError(t, os.Chmod(far, 0o640))
	for _, path := range []string{f, far} {
		may(t, alice, "cat "+path)
		mayNot(t, bob, "echo x >> "+path, staff)
	}
	require.NoError(t, c.mounts[0].end())
	c.down()
	c.up()
	may(t, alice, "cat "+f)
	mayNot(t, bob, "cat "+f)
	require.NoError(t, unix.Removexattr(f, accessACL))
	mayNot(t, alice, "cat "+f)
}

// What is made in a directory with a default ACL gets that, whatever the umask.
func TestDefaultACLsAreInherited(t *testing.T) {
	c := start(t, options{})
	d := c.path("d")
	require.NoError(t, os.Mkdir(d, 0o700))
	require.NoError(t, setACL(d, accessACL, user(7), namedUser(alice, 7), namedUser(bob, 5), group(0), mask(7), other(0)))
	may(t, alice, "umask 027; touch "+d+"/plain")
	require.EqualValues(t, 0o640, mode(t, d+"/plain"), "there is no default: the umask counts")
	require.NoError(t, setACL(d, defaultACL, user(7), namedUser(bob, 7), group(5), mask(7), other(0)))
	may(t, alice, "umask 077; cd "+d+"; touch f; mkdir sub; mkfifo p; ln -s f s")
	require.EqualValues(t, 0o660, mode(t, d+"/f"))
	require.EqualValues(t, 0o770, mode(t, d+"/sub"))
	require.EqualValues(t, 0o660, mode(t, d+"/p"))
	require.EqualValues(t, 0o777, mode(t, d+"/s"))
	may(t, bob, "echo x >> "+d+"/f; touch "+d+"/sub/of-bob")
	may(t, bob, "umask 077; mkdir "+d+"/sub/deeper; touch "+d+"/sub/deeper/f")
	require.EqualValues(t, 0o660, mode(t, d+"/sub/deeper/f"))
	mayNot(t, bob, "touch "+d+"/new")
	mayNot(t, staff, "cat "+d+"/f")
	require.ErrorIs(t, setACL(d+"/f", defaultACL, user(7), group(5), other(0)), syscall.EACCES)
}

// Extended attributes belong to the file, wherever it is looked at.
func TestExtendedAttributesAreShared(t *testing.T) {
	c := start(t, options{})
	there := c.secondMount().point
	require.NoError(t, os.Mkdir(c.path("d"), 0o755))
	require.NoError(t, os.WriteFile(c.path("f"), nil, 0o644))
	held, err := os.Open(filepath.Join(there, "f")) // under a read lease
	require.NoError(t, err)
	defer held.Close()
	buf := make([]byte, 1<<16)
	value := func(path, name string) string {
		n, err := unix.Getxattr(path, name, buf)
		require.NoError(t, err, "%s of %s", name, path)
		return string(buf[:n])
	}
	big := strings.Repeat("0123456789abcdef", 1<<12)
	for _, name := range []string{"f", "d"} {
		here, far := c.path(name), filepath.Join(there, name)
		_, err := unix.Getxattr(far, "user.x", buf)
		require.ErrorIs(t, err, syscall.ENODATA)
		require.NoError(t, unix.Setxattr(here, "user.x", []byte("X"), 0))
		require.Equal(t, "X", value(far, "user.x"))
		require.NoError(t, unix.Setxattr(far, "user.x", []byte(big), unix.XATTR_REPLACE))
		require.Equal(t, big, value(here, "user.x"))
		require.ErrorIs(t, unix.Setxattr(here, "user.y", []byte(big), 0), syscall.ENOSPC)
		require.NoError(t, unix.Setxattr(here, "trusted.t", []byte("T"), unix.XATTR_CREATE))
	}
	n, err := unix.Fgetxattr(int(held.Fd()), "user.x", buf)
	require.NoError(t, err)
	require.Equal(t, big, string(buf[:n]))
	require.NoError(t, held.Close())
	require.NoError(t, c.mounts[0].end())
	c.kill("exportd")
	c.start("exportd")
	for _, name := range []string{"f", "d"} {
		require.Equal(t, big, value(c.path(name), "user.x"))
		require.Equal(t, "T", value(c.path(name), "trusted.t"))
		require.NoError(t, unix.Removexattr(c.path(name), "user.x"))
		n, err := unix.Listxattr(c.path(name), buf)
		require.NoError(t, err)
		require.Equal(t, "trusted.t\x00", string(buf[:n]))
	}
}

// A file without a name is written, outlives a restart, and gets a name with all its content.
func TestFilesWithoutANameGetOne(t *testing.T) {
	c := start(t, options{})
	fd, err := unix.Open(c.mnt, unix.O_TMPFILE|unix.O_RDWR, 0o640)
	require.NoError(t, err)
	defer unix.Close(fd)
	content := strings.Repeat("temporary ", 10_000)
	_, err = unix.Write(fd, []byte(content))
	require.NoError(t, err)
	require.Empty(t, names(t, c.mnt))
	c.kill("exportd")
	c.start("exportd")
	require.NoError(t, unix.Linkat(fd, "", unix.AT_FDCWD, c.path("f"), unix.AT_EMPTY_PATH))
	require.EqualValues(t, 0o640, mode(t, c.path("f")))
	c.kill("exportd")
	c.start("exportd")
	got, err := os.ReadFile(filepath.Join(c.secondMount().point, "f"))
	require.NoError(t, err)
	require.Equal(t, content, string(got))
}

// A file is found by its handle, as an NFS server does, after everything was restarted.
func TestHandlesSurviveARestart(t *testing.T) {
	c := start(t, options{})
	require.NoError(t, os.MkdirAll(c.path("a/b"), 0o755))
	require.NoError(t, os.WriteFile(c.path("a/b/f"), []byte("content"), 0o644))
	require.NoError(t, os.WriteFile(c.path("a/gone"), nil, 0o644))
	handles, inos := map[string]unix.FileHandle{}, map[string]uint64{}
	for _, name := range []string{"", "a", "a/b", "a/b/f", "a/gone"} {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, c.path(name), 0)
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Stat(c.path(name), &st))
		handles[name], inos[name] = h, st.Ino
	}
	require.NoError(t, os.Remove(c.path("a/gone")))
	require.NoError(t, os.Rename(c.path("a/b"), c.path("moved")))
	c.down()
	c.up()
	mnt := openDir(t, c.mnt)
	defer unix.Close(mnt)
	_, err := unix.OpenByHandleAt(mnt, handles["a/gone"], unix.O_RDONLY)
	require.ErrorIs(t, err, syscall.ESTALE)
	delete(handles, "a/gone")
	for name, h := range handles {
		fd, err := unix.OpenByHandleAt(mnt, h, unix.O_RDONLY)
		require.NoError(t, err, "%q", name)
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(fd, &st))
		require.Equal(t, inos[name], st.Ino, "%q", name)
		if name == "a/b/f" {
			b := make([]byte, 100)
			n, err := unix.Read(fd, b)
			require.NoError(t, err)
			require.Equal(t, "content", string(b[:n]))
		}
		require.NoError(t, unix.Close(fd))
	}
}

// RENAME_NOREPLACE and RENAME_EXCHANGE, between directories too.
func TestRenameWithFlags(t *testing.T) {
	c := start(t, options{})
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, c.path(from), unix.AT_FDCWD, c.path(to), flags)
	}
	for _, d := range []string{"p/dir/in", "q"} {
		require.NoError(t, os.MkdirAll(c.path(d), 0o755))
	}
	require.NoError(t, os.WriteFile(c.path("q/file"), []byte("content"), 0o644))
	require.ErrorIs(t, rename("p/dir", "q/file", unix.RENAME_NOREPLACE), syscall.EEXIST)
	require.ErrorIs(t, rename("p/dir", "q/none", unix.RENAME_EXCHANGE), syscall.ENOENT)
	require.ErrorIs(t, rename("p", "p/dir/in", unix.RENAME_EXCHANGE), syscall.EINVAL)
	require.ErrorIs(t, rename("q/file", "q/new", unix.RENAME_WHITEOUT), syscall.EINVAL)
	require.NoError(t, rename("p/dir", "q/file", unix.RENAME_EXCHANGE))
	require.Equal(t, []string{"in"}, names(t, c.path("q/file")))
	got, err := os.ReadFile(c.path("p/dir"))
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
	var p, q, up unix.Stat_t
	require.NoError(t, unix.Stat(c.path("p"), &p))
	require.NoError(t, unix.Stat(c.path("q"), &q))
	require.EqualValues(t, []uint64{2, 3}, []uint64{uint64(p.Nlink), uint64(q.Nlink)})
	require.NoError(t, unix.Stat(c.path("q/file/.."), &up))
	require.Equal(t, q.Ino, up.Ino)
	require.NoError(t, rename("q/file", "dir", unix.RENAME_NOREPLACE))
	require.Equal(t, []string{"dir", "p", "q"}, names(t, c.mnt))
}

// Entries that are there all the while are listed once each, though names around them come
// and go, on this mount and on another; and an offset of telldir leads back to its place.
func TestAListingWhileTheDirectoryChanges(t *testing.T) {
	c := start(t, options{})
	far := c.secondMount().point
	stay := scaled(1500, 10_000)
	for i := range stay {
		require.NoError(t, createEmpty(c.path(fmt.Sprint("stay-", i))))
		if i%2 == 0 {
			require.NoError(t, createEmpty(c.path(fmt.Sprint("go-", i))))
		}
	}
	fd := openDir(t, c.mnt)
	defer unix.Close(fd)
	seen := map[string]int{}
	type place struct {
		off  int64
		next string
	}
	var places []place
	buf, last := make([]byte, 1024), int64(0)
	for round := 0; ; round++ {
		n, err := unix.Getdents(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			size := binary.NativeEndian.Uint16(rest[16:])
			name := unix.ByteSliceToString(rest[19:size])
			seen[name]++
			if strings.HasPrefix(name, "stay-") && round%8 == 0 {
				places = append(places, place{last, name})
			}
			last = int64(binary.NativeEndian.Uint64(rest[8:]))
			rest = rest[size:]
		}
		dir := []string{c.mnt, far}[round%2]
		if err := os.Remove(filepath.Join(dir, fmt.Sprint("go-", round*2))); err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		require.NoError(t, createEmpty(filepath.Join(dir, fmt.Sprint("come-", round))))
		require.NoError(t, os.Rename(filepath.Join(dir, fmt.Sprint("come-", round)), filepath.Join(dir, fmt.Sprint("came-", round))))
	}
	for i := range stay {
		require.Equal(t, 1, seen[fmt.Sprint("stay-", i)], "stay-%d", i)
	}
	for name, times := range seen {
		require.Equal(t, 1, times, name)
	}
	require.NotEmpty(t, places)
	slices.Reverse(places)
	for _, p := range places { // seekdir, from where other names may have come in between
		_, err := unix.Seek(fd, p.off, unix.SEEK_SET)
		require.NoError(t, err)
		require.Contains(t, namesFrom(t, fd, p.next), p.next)
	}
}

// namesFrom reads on until it meets a name, or the end.
func namesFrom(t *testing.T, fd int, until string) (all []string) {
	t.Helper()
	buf := make([]byte, 1024)
	for !slices.Contains(all, until) {
		n, err := unix.Getdents(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		for rest := buf[:n]; len(rest) > 0; {
			size := binary.NativeEndian.Uint16(rest[16:])
			all = append(all, unix.ByteSliceToString(rest[19:size]))
			rest = rest[size:]
		}
	}
	require.Less(t, len(all), 200, "the offset leads close to %s", until)
	return all
}

// What a program was allowed to do ends when somebody else changes it.
func TestPrivilegesEndWithAWrite(t *testing.T) {
	c := start(t, options{})
	f := c.path("f")
	require.NoError(t, os.WriteFile(f, []byte("content"), 0o600))
	for _, line := range []string{"echo x >> " + f, ": > " + f, "truncate -s 3 " + f, "fallocate -l 100 " + f, "dd if=/dev/zero of=" + f + " bs=1 count=1 conv=notrunc"} {
		require.NoError(t, os.Chown(f, alice, alice))
		require.NoError(t, unix.Chmod(f, 0o6777))
		may(t, bob, line)
		require.EqualValues(t, 0o777, mode(t, f), line)
	}
	require.NoError(t, unix.Chmod(f, 0o6777))
	require.NoError(t, os.Chown(f, bob, bob))
	require.EqualValues(t, 0o777, mode(t, f), "chown by root")
	require.NoError(t, unix.Chmod(f, 0o2767))
	may(t, alice, "echo x >> "+f)
	require.EqualValues(t, 0o2767, mode(t, f), "the group may not run it: that is no privilege")
}
