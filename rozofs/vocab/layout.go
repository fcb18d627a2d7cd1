package vocab

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxSafe bounds the number of storages in a file's distribution.
const MaxSafe = 32

// Layout says how a block is spread: Forward projections are made of it, any
// Inverse of them rebuild it, and they lie on Forward of the file's Safe
// storages.
type Layout struct {
	Inverse, Forward, Safe uint8
}

// ReadQuorum is how many of a block's storages must say what they have so that whatever was
// acknowledged shows on inverse of them.
func (l Layout) ReadQuorum() int { return int(l.Safe) - int(l.Forward) + int(l.Inverse) }

// LayoutByNumber returns RozoFS's layouts 0, 1 and 2.
func LayoutByNumber(n int) (Layout, error) {
	switch n {
	case 0:
		return Layout{2, 3, 4}, nil
	case 1:
		return Layout{4, 6, 8}, nil
	case 2:
		return Layout{8, 12, 16}, nil
	}
	return Layout{}, fmt.Errorf("layout %d: want 0 (2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple INVERSE,FORWARD,SAFE", n)
}

// ParseLayout reads "0", "1", "2" or a triple "INVERSE,FORWARD,SAFE" and
// validates it.
func ParseLayout(s string) (Layout, error) {
	parts := strings.Split(s, ",")
	if len(parts) == 1 {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return Layout{}, fmt.Errorf("layout %q: want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4", s)
		}
		return LayoutByNumber(n)
	}
	if len(parts) != 3 {
		return Layout{}, fmt.Errorf("layout %q: want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4", s)
	}
	var v [3]uint8
	for i, p := range parts {
		n, err := strconv.ParseUint(strings.TrimSpace(p), 10, 8)
		if err != nil {
			return Layout{}, fmt.Errorf("layout %q: %q is not a number from 1 to %d", s, p, MaxSafe)
		}
		v[i] = uint8(n)
	}
	l := Layout{v[0], v[1], v[2]}
	return l, l.Validate()
}

// Validate returns what is wrong with the layout, all of it. The last of its
// rules makes every read quorum meet every write quorum.
func (l Layout) Validate() error {
	var errs []error
	if l.Inverse < 1 || l.Inverse >= l.Forward || l.Forward > l.Safe {
		errs = append(errs, fmt.Errorf("layout %s: want 1 <= inverse < forward <= safe", l))
	}
	if l.Safe > MaxSafe {
		errs = append(errs, fmt.Errorf("layout %s: safe is at most %d", l, MaxSafe))
	}
	if int(l.Inverse)+int(l.Forward) <= int(l.Safe) {
		errs = append(errs, fmt.Errorf("layout %s: want inverse + forward > safe, so that every read meets the last write", l))
	}
	return errors.Join(errs...)
}

// Warning says what a valid layout cannot do, or "".
func (l Layout) Warning() string {
	if int(l.Safe)+int(l.Inverse) < 2*int(l.Forward) {
		return fmt.Sprintf("layout %s: safe + inverse is below 2 x forward, so writing and recovery stop before all %d tolerated storages are lost; more storages in safe mend that",
			l, l.Forward-l.Inverse)
	}
	return ""
}

// String gives INVERSE,FORWARD,SAFE, which ParseLayout reads.
func (l Layout) String() string { return fmt.Sprintf("%d,%d,%d", l.Inverse, l.Forward, l.Safe) }

// Block sizes that an export may choose, in bytes; powers of two in between.
const (
	MinBlockBytes     = 4 << 10
	MaxBlockBytes     = 64 << 10
	DefaultBlockBytes = 8 << 10
)

// Geometry is how a file's content is cut and coded. It is fixed when the file
// is created and kept in its inode.
type Geometry struct {
	Layout       Layout
	Systematic   bool
	ElementBytes uint8  // bytes of one bin: 8, 16, 32 or 64
	BlockBytes   uint32 // bytes of user data in a full block
}

// Validate refuses what no exportd would hand out.
func (g Geometry) Validate() error {
	if err := g.Layout.Validate(); err != nil {
		return err
	}
	if g.BlockBytes < MinBlockBytes || g.BlockBytes > MaxBlockBytes || g.BlockBytes&(g.BlockBytes-1) != 0 {
		return fmt.Errorf("block size %d: want a power of two from %d to %d bytes", g.BlockBytes, MinBlockBytes, MaxBlockBytes)
	}
	switch g.ElementBytes {
	case 8, 16, 32, 64:
		return nil
	}
	return fmt.Errorf("element width %d: want 8, 16, 32 or 64 bytes", g.ElementBytes)
}

// Distribution is where a file's projections lie: Safe storages of one cluster.
// Projection i is at home on SIDs[i], i < Forward; the rest are spares.
// Generation grows whenever the distribution changes; storages refuse requests
// that name an older one.
type Distribution struct {
	CID        CID
	Generation uint32
	SIDs       []SID
}
