package vocab

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// CID names a cluster, a set of storages, within a volume.
type CID uint16

// SID names a storage within its cluster: 1 to 255.
type SID uint8

// VID names a volume, a set of clusters.
type VID uint16

// EID names an export, a mountable namespace: 1 to 1024.
type EID uint16

// Ino is an inode number, unique within an exportd group.
type Ino uint64

// SessionID names the session of one mount with exportd.
type SessionID uint64

// Boot is drawn at random each time a storaged starts. A reply under another
// boot tells that whatever was not yet synced under the first is unknown.
type Boot uint64

// Incarnation is drawn when a storage root is made. A replaced root has another
// incarnation and so cannot pass for the one that held data and fences.
type Incarnation uint64

// ClusterID is the identity of a whole installation; daemons of different
// installations refuse one another.
type ClusterID [16]byte

// String gives 32 hexadecimal digits.
func (c ClusterID) String() string { return hex.EncodeToString(c[:]) }

// ParseClusterID reads 32 hexadecimal digits.
func ParseClusterID(s string) (ClusterID, error) {
	var c ClusterID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(c) {
		return c, fmt.Errorf("cluster identity %q: want 32 hexadecimal digits", s)
	}
	copy(c[:], b)
	return c, nil
}

// StorageID names one storage: a cluster and a storage id in it.
type StorageID struct {
	CID CID
	SID SID
}

// String gives CID/SID.
func (s StorageID) String() string { return fmt.Sprintf("%d/%d", s.CID, s.SID) }

// FID is a file's identity, 128 bit and never used twice: exportd group (2
// bytes), metadata incarnation (4), export (2), inode number (8), big endian.
// A metadata store restored from a backup continues under a higher incarnation,
// so that inode numbers that it hands out again name other files.
type FID [16]byte

// MakeFID composes a file identity.
func MakeFID(group uint16, incarnation uint32, export EID, ino Ino) FID {
	var f FID
	binary.BigEndian.PutUint16(f[0:], group)
	binary.BigEndian.PutUint32(f[2:], incarnation)
	binary.BigEndian.PutUint16(f[6:], uint16(export))
	binary.BigEndian.PutUint64(f[8:], uint64(ino))
	return f
}

// ParseFID reads what String writes.
func ParseFID(s string) (f FID, err error) {
	if b, err := hex.DecodeString(s); err == nil && len(b) == len(f) {
		if f = FID(b); f.String() == s {
			return f, nil
		}
	}
	return FID{}, Errorf(Invalid, "%q is no fid", s)
}

// Group, Incarnation, Export and Ino are the parts as MakeFID takes them; String
// gives 32 hexadecimal digits, the name of the file's slot files.
func (f FID) Group() uint16       { return binary.BigEndian.Uint16(f[0:]) }
func (f FID) Incarnation() uint32 { return binary.BigEndian.Uint32(f[2:]) }
func (f FID) Export() EID         { return EID(binary.BigEndian.Uint16(f[6:])) }
func (f FID) Ino() Ino            { return Ino(binary.BigEndian.Uint64(f[8:])) }
func (f FID) String() string      { return hex.EncodeToString(f[:]) }

// Epoch numbers lease grants. It grows for ever: metadata incarnation (24 bit)
// first, then one durable counter (40 bit). Epochs decide permission.
type Epoch uint64

// EpochCounterBits is the width of the counter below the incarnation.
const EpochCounterBits = 40

// MakeEpoch composes an epoch; counter must be below 2^40.
func MakeEpoch(incarnation uint32, counter uint64) Epoch {
	return Epoch(uint64(incarnation)<<EpochCounterBits | counter&(1<<EpochCounterBits-1))
}

// Version orders what is written to one block. It is chosen by the holder of
// the file's write lease: the lease's epoch, then a counter of the holder's
// own. The zero version is that of a block never written ("absent").
type Version struct {
	Epoch   Epoch
	Counter uint64
}

// Compare returns -1, 0 or 1.
func (v Version) Compare(w Version) int {
	if c := cmp.Compare(v.Epoch, w.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(v.Counter, w.Counter)
}

// Absent tells that nothing was written.
func (v Version) Absent() bool { return v == Version{} }

// String gives EPOCH.COUNTER.
func (v Version) String() string { return fmt.Sprintf("%d.%d", uint64(v.Epoch), v.Counter) }
