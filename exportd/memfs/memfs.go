// Package memfs is a file system in memory for exportd.Config.FS, in tests: it loses its
// power. What was synced is there afterwards, what was not in part, by a seed.
package memfs

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system in memory.
type FS struct{ *vfs.MemFS }

// New gives an empty one.
func New() FS { return FS{vfs.NewCrashableMem()} }

// LosePower returns the file system as it is when the power is back. Servers still use the
// old one: what they change there from now on is nowhere else.
func (f FS) LosePower(r *rand.Rand) FS {
	return FS{f.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * r.IntN(3), RNG: r})}
}
