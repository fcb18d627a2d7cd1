// Package memfs is a file system in memory for exportd.Config.FS, in tests: it loses its
// power. What was synced is there afterwards, what was not in part, by a seed. It fails on
// command ([FS.SetFault]).
package memfs

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// FS is a file system in memory.
type FS struct {
	vfs.FS
	mem   *vfs.MemFS
	fault *atomic.Pointer[func(errorfs.Op) error]
}

// New gives an empty one.
func New() FS { return over(vfs.NewCrashableMem()) }

func over(mem *vfs.MemFS) FS {
	f := FS{mem: mem, fault: new(atomic.Pointer[func(errorfs.Op) error])}
	f.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if do := f.fault.Load(); do != nil && *do != nil {
			return (*do)(op)
		}
		return nil
	}))
	return f
}

// SetFault has do asked before each operation, also by several at the same time: what it
// returns is the outcome, nil being success. A nil do ends that.
func (f FS) SetFault(do func(errorfs.Op) error) { f.fault.Store(&do) }

// LosePower returns the file system as it is when the power is back, without faults. Servers
// still use the old one: what they change there from now on is nowhere else.
func (f FS) LosePower(r *rand.Rand) FS {
	return over(f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * r.IntN(3), RNG: r}))
}
