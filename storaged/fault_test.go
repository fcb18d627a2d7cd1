package storaged

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// faultDisk lets a test fail the calls of a disk. fault sees the name of each
// call and of the file; what it returns is the outcome, nil being success. A
// write that fails has written half.
type faultDisk struct {
	disk.Disk
	mu    sync.Mutex // guards the rest
	fault func(call, name string) error
	calls map[string]int // "call name" → how often
}

func newFaultRig(t *testing.T) (*rig, *faultDisk) {
	d := &faultDisk{calls: map[string]int{}}
	g := newRig(t, func(g *rig) {
		g.cfg.OpenDisk = func(path string) (disk.Disk, error) {
			under, err := disk.Open(path)
			d.Disk = under
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

func (d *faultDisk) Open(name string, flag int) (disk.File, error) {
	if err := d.outcome("open", name); err != nil {
		return nil, err
	}
	f, err := d.Disk.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: f, name: name, disk: d}, nil
}

func (d *faultDisk) SyncDir(name string) error {
	if err := d.outcome("syncdir", name); err != nil {
		return err
	}
	return d.Disk.SyncDir(name)
}

func (d *faultDisk) Remove(name string) error {
	if err := d.outcome("remove", name); err != nil {
		return err
	}
	return d.Disk.Remove(name)
}

type faultFile struct {
	disk.File
	name string
	disk *faultDisk
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.outcome("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) WriteVec(parts [][]byte, off int64) error {
	if err := f.disk.outcome("write", f.name); err != nil {
		_, _ = f.File.WriteAt(parts[0], off)
		return err
	}
	return f.File.WriteVec(parts, off)
}

func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.disk.outcome("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f *faultFile) Datasync() error {
	if err := f.disk.outcome("datasync", f.name); err != nil {
		return err
	}
	return f.File.Datasync()
}

// failing makes one call fail on slot files, on the journal, and in directories.
func failing(call string, err error) func(string, string) error {
	return func(c, name string) error {
		if c == call && (strings.HasPrefix(name, slotsDir) || strings.HasPrefix(name, journalDir)) {
			return err
		}
		return nil
	}
}

// large gives versions enough for a run that is written in place.
func large(v vocab.Version) []vocab.Version {
	return slices.Repeat([]vocab.Version{v}, minDirect/(wire.SlotHeaderBytes+testPayload)+1)
}

func TestFullDiskTakesBackWhatItHalfWrote(t *testing.T) {
	g, d := newFaultRig(t)
	d.set(failing("write", syscall.ENOSPC))
	require.ErrorIs(t, g.tryWrite(0, version(1), version(1)), vocab.NoSpace)
	require.Equal(t, []found{absent, absent}, g.read(0, 2))

	d.set(nil)
	g.write(0, version(1))
	g.fold()
	for _, versions := range [][]vocab.Version{{version(2), version(2)}, large(version(2))} {
		d.set(failing("write", syscall.EDQUOT))
		require.ErrorIs(t, g.tryWrite(1, versions...), vocab.NoSpace)
		info, err := os.Stat(g.slotPath())
		require.NoError(t, err)
		require.Equal(t, int64(slotFileHeader+wire.SlotHeaderBytes+testPayload), info.Size())
		require.Equal(t, []found{present(version(1)), absent, absent}, g.read(0, 3))
	}

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
			if call == "datasync" || call == "syncdir" || call == "remove" {
				g.write(0, large(version(1))...)
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
			require.True(t, g.status().Health.Serves())
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
	g.fold()
	d.set(failing("read", syscall.EIO))
	require.Equal(t, []found{unknown, unknown, absent}, g.read(0, 3))
	d.set(nil)
	require.Equal(t, wire.HealthUp, g.status().Health)
	require.Equal(t, []found{present(version(1)), present(version(1))}, g.read(0, 2))
}

// What is written in place is synced there, and then noted in the journal; small writes to
// however many files are one sync of the journal.
func TestSyncCoversFilesAndDirectories(t *testing.T) {
	g, d := newFaultRig(t)
	bucket := bucketName(bucketOf(testFID))
	segment := g.srv.order[0].journal.current.seq
	counts := func(file, dir, journal int) {
		t.Helper()
		require.Equal(t, []int{file, dir, journal},
			[]int{d.count("datasync " + slotFileName(testFID)), d.count("syncdir " + bucket), d.count("datasync " + segmentName(segment))})
		d.set(nil)
	}
	d.set(nil)
	g.write(0, large(version(1))...)
	g.sync()
	counts(1, 1, 1)
	g.sync()
	counts(0, 0, 0)
	g.write(1, version(2))
	var fids []vocab.FID
	for i := range 10 {
		fid := vocab.MakeFID(1, 1, 1, vocab.Ino(500+i))
		req := &wire.WriteRequest{Target: g.to, Run: wire.Run{FID: fid, Count: 1}, PayloadBytes: testPayload}
		require.NoError(t, g.send(wire.OpWrite, req, slots(fid, 0, version(1)), nil))
		fids = append(fids, fid)
	}
	require.NoError(t, g.trySync(g.srv.Boot(), append(fids, testFID)...))
	require.Zero(t, d.count("datasync "+slotFileName(fids[0])))
	counts(0, 0, 1)
	g.remove(testFID)
	counts(0, 1, 1)
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
