package storaged

import (
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// faultDisk lets a test fail the calls of a disk. fault sees the name of each
// call and of the file; what it returns is the outcome, nil being success. A
// write that fails has written half.
type faultDisk struct {
	disk
	mu    sync.Mutex // guards the rest
	fault func(call, name string) error
	calls map[string]int // "call name" → how often
}

func newFaultRig(t *testing.T) (*rig, *faultDisk) {
	d := &faultDisk{calls: map[string]int{}}
	g := newRig(t, func(g *rig) {
		g.disk = func(path string) (disk, error) {
			under, err := openOSDisk(path)
			d.disk = under
			return d, err
		}
	})
	return g, d
}

func (d *faultDisk) set(f func(call, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
	clear(d.calls)
}

func (d *faultDisk) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}

func (d *faultDisk) outcome(call, name string) error {
	d.mu.Lock()
	f := d.fault
	d.calls[call+" "+name]++
	d.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f(call, name); err != nil {
		return &fs.PathError{Op: call, Path: name, Err: err}
	}
	return nil
}

func (d *faultDisk) open(name string, flag int) (file, error) {
	if err := d.outcome("open", name); err != nil {
		return nil, err
	}
	f, err := d.disk.open(name, flag)
	if err != nil {
		return nil, err
	}
	return &faultFile{file: f, name: name, disk: d}, nil
}

func (d *faultDisk) syncDir(name string) error {
	if err := d.outcome("syncdir", name); err != nil {
		return err
	}
	return d.disk.syncDir(name)
}

func (d *faultDisk) remove(name string) error {
	if err := d.outcome("remove", name); err != nil {
		return err
	}
	return d.disk.remove(name)
}

type faultFile struct {
	file
	name string
	disk *faultDisk
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.outcome("write", f.name); err != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultFile) writeVec(parts [][]byte, off int64) error {
	if err := f.disk.outcome("write", f.name); err != nil {
		_, _ = f.file.WriteAt(parts[0], off)
		return err
	}
	return f.file.writeVec(parts, off)
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.disk.outcome("read", f.name); err != nil {
		return 0, err
	}
	return f.file.ReadAt(b, off)
}

func (f *faultFile) datasync() error {
	if err := f.disk.outcome("datasync", f.name); err != nil {
		return err
	}
	return f.file.datasync()
}

// failing makes one call fail on slot files.
func failing(call string, err error) func(string, string) error {
	return func(c, name string) error {
		if c == call && strings.HasPrefix(name, slotsDir) {
			return err
		}
		return nil
	}
}

func TestFullDiskTakesBackWhatItHalfWrote(t *testing.T) {
	g, d := newFaultRig(t)
	d.set(failing("write", syscall.ENOSPC))
	require.ErrorIs(t, g.tryWrite(0, version(1), version(1)), vocab.NoSpace)
	_, err := os.Stat(g.slotPath())
	require.ErrorIs(t, err, os.ErrNotExist, "the new file is gone")

	d.set(nil)
	g.write(0, version(1))
	d.set(failing("write", syscall.EDQUOT))
	require.ErrorIs(t, g.tryWrite(1, version(2), version(2)), vocab.NoSpace)
	info, err := os.Stat(g.slotPath())
	require.NoError(t, err)
	require.Equal(t, int64(slotFileHeader+wire.SlotHeaderBytes+testPayload), info.Size())
	require.Equal(t, []found{present(version(1)), absent, absent}, g.read(0, 3))

	d.set(nil)
	require.Equal(t, wire.HealthUp, g.status().Health)
	g.write(1, version(2), version(2))
	g.sync()
	require.Equal(t, []found{present(version(1)), present(version(2)), present(version(2))}, g.read(0, 3))
}

func TestFullDiskInAHole(t *testing.T) {
	g, d := newFaultRig(t)
	g.write(0, version(1))
	g.write(9, version(1))
	g.restart() // so that headers are looked at
	d.set(failing("write", syscall.ENOSPC))
	require.ErrorIs(t, g.tryWrite(4, version(1), version(1)), vocab.NoSpace)
	d.set(nil)
	want := make([]found, 10)
	want[0], want[9] = present(version(1)), present(version(1))
	require.Equal(t, want, g.read(0, 10))
}

func TestFailedDiskIsOutOfServiceUntilRestart(t *testing.T) {
	for _, call := range []string{"write", "datasync", "syncdir", "open", "remove"} {
		t.Run(call, func(t *testing.T) {
			g, d := newFaultRig(t)
			other := vocab.MakeFID(1, 1, 1, 500000)
			if call == "datasync" || call == "syncdir" {
				g.write(0, version(1))
			}
			d.set(failing(call, syscall.EIO))
			var err error
			switch call {
			case "write", "open":
				err = g.tryWrite(0, version(1))
			case "remove":
				err = g.send(wire.OpDelete, &wire.DeleteRequest{Target: g.to, FIDs: []vocab.FID{testFID}}, nil, nil)
			default:
				err = g.trySync(g.srv.Boot(), testFID)
			}
			require.ErrorIs(t, err, vocab.DiskFailed)
			require.ErrorContains(t, err, "until storaged is restarted")
			d.set(nil)
			require.Equal(t, wire.HealthFailed, g.status().Health)
			require.ErrorIs(t, g.tryWrite(1, version(2)), vocab.DiskFailed)
			require.ErrorIs(t, g.trySync(g.srv.Boot(), other), vocab.DiskFailed)
			_, _, err = g.tryRead(g.run(0, 1))
			require.ErrorIs(t, err, vocab.DiskFailed)
			require.Zero(t, d.count("datasync "+slotFileName(testFID)), "a failed sync is not tried again")

			g.restart()
			require.Equal(t, wire.HealthUp, g.status().Health)
			g.write(0, version(3))
			g.sync()
		})
	}
}

func TestUnreadableSlotsAreUnknownAndHarmNothingElse(t *testing.T) {
	g, d := newFaultRig(t)
	g.write(0, version(1), version(1))
	d.set(failing("read", syscall.EIO))
	require.Equal(t, []found{unknown, unknown, absent}, g.read(0, 3))
	d.set(nil)
	require.Equal(t, wire.HealthUp, g.status().Health)
	require.Equal(t, []found{present(version(1)), present(version(1))}, g.read(0, 2))
}

func TestSyncCoversFilesAndDirectories(t *testing.T) {
	g, d := newFaultRig(t)
	d.set(nil)
	g.write(0, version(1))
	g.sync()
	bucket := bucketName(bucketOf(testFID))
	require.Equal(t, 1, d.count("datasync "+slotFileName(testFID)))
	require.Equal(t, 1, d.count("syncdir "+bucket))
	require.Equal(t, 1, d.count("syncdir "+slotsDir))
	g.write(1, version(1))
	g.sync()
	require.Equal(t, 2, d.count("datasync "+slotFileName(testFID)))
	require.Equal(t, 1, d.count("syncdir "+bucket), "no entry is new")
	g.remove(testFID)
	require.Equal(t, 2, d.count("syncdir "+bucket), "a removal is durable")

	// What an earlier run made may lack its entry.
	fid := vocab.MakeFID(1, 1, 1, 99999)
	req := &wire.WriteRequest{Target: g.to, Run: wire.Run{FID: fid, Count: 1}, PayloadBytes: testPayload}
	require.NoError(t, g.send(wire.OpWrite, req, slots(fid, 0, version(1)), nil))
	g.restart()
	d.set(nil)
	require.NoError(t, g.send(wire.OpWrite, req, slots(fid, 0, version(1)), nil))
	require.NoError(t, g.trySync(g.srv.Boot(), fid))
	require.Equal(t, 1, d.count("syncdir "+bucketName(bucketOf(fid))))
	require.Equal(t, 1, d.count("datasync "+slotFileName(fid)))
}

func TestFailedFenceIsNotAcknowledged(t *testing.T) {
	g, d := newFaultRig(t)
	d.set(func(call, name string) error {
		if call == "datasync" && name == fencesTemp { // the log keeps the name it was opened by
			return syscall.EIO
		}
		return nil
	})
	to := g.to
	to.Session, to.Epoch = 7, 9
	require.ErrorIs(t, g.send(wire.OpFence, &wire.FenceRequest{Target: to}, nil, nil), vocab.DiskFailed)
}
