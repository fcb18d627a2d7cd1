package storaged

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
)

// IdentityFile is the name of the file that makes a directory a root.
const IdentityFile = "rozofs.root"

const (
	identityTemp    = IdentityFile + ".tmp" // left by a crash while a root was made
	identityMagic   = 0x54525a52            // "RZRT"
	identityVersion = 1
	identityBytes   = 64
)

// Identity is what the identity file of a root says. Little endian:
//
//	0  u32 magic "RZRT"
//	4  u16 format version, 1
//	6  u16 cid
//	8  u8  sid
//	9  [7] 0
//	16 [16] cluster
//	32 u64 incarnation, not 0
//	40 [20] 0
//	60 u32 CRC32C of the 60 bytes before
type Identity struct {
	Cluster     vocab.ClusterID
	ID          vocab.StorageID
	Incarnation vocab.Incarnation
}

func (id Identity) marshal() []byte {
	b := make([]byte, identityBytes)
	le := binary.LittleEndian
	le.PutUint32(b[0:], identityMagic)
	le.PutUint16(b[4:], identityVersion)
	le.PutUint16(b[6:], uint16(id.ID.CID))
	b[8] = byte(id.ID.SID)
	copy(b[16:32], id.Cluster[:])
	le.PutUint64(b[32:], uint64(id.Incarnation))
	le.PutUint32(b[60:], wire.Checksum(b[:60]))
	return b
}

func parseIdentity(b []byte) (Identity, error) {
	le := binary.LittleEndian
	switch {
	case len(b) != identityBytes || le.Uint32(b) != identityMagic:
		return Identity{}, vocab.Errorf(vocab.Corrupt, "%s is no identity file of a storage: restore it from a copy, or use an empty directory", IdentityFile)
	case wire.Checksum(b[:60]) != le.Uint32(b[60:]):
		return Identity{}, vocab.Errorf(vocab.Corrupt, "%s fails its checksum: check the disk, and restore the file from a copy or use an empty directory", IdentityFile)
	case le.Uint16(b[4:]) != identityVersion:
		return Identity{}, vocab.Errorf(vocab.NotSupported, "%s has format version %d, this program knows %d: use the program that made it or a newer one",
			IdentityFile, le.Uint16(b[4:]), identityVersion)
	}
	return Identity{
		Cluster:     vocab.ClusterID(b[16:32]),
		ID:          vocab.StorageID{CID: vocab.CID(le.Uint16(b[6:])), SID: vocab.SID(b[8])},
		Incarnation: vocab.Incarnation(le.Uint64(b[32:])),
	}, nil
}

// ReadRoot reads the identity of a root. errors.Is(err, fs.ErrNotExist) tells
// that the directory has none, or is not there.
func ReadRoot(path string) (Identity, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return Identity{}, fmt.Errorf("root %s: %w", path, err)
	}
	defer r.Close()
	f, err := r.Open(IdentityFile)
	if err != nil {
		return Identity{}, fmt.Errorf("root %s: %w", path, err)
	}
	defer f.Close()
	id, err := readIdentity(f)
	if err != nil {
		return Identity{}, fmt.Errorf("root %s: %w", path, err)
	}
	return id, nil
}

// readIdentity reads one byte more than an identity has, to see that there is none.
func readIdentity(f io.ReaderAt) (Identity, error) {
	b := make([]byte, identityBytes+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return Identity{}, err
	}
	return parseIdentity(b[:n])
}

// InitRoot makes path, which must be absent or empty, the root of a storage,
// with an incarnation of its own, and returns when that is durable: the identity
// is written to a temporary file and fsynced, linked to its name (which never
// replaces one), and the directory and its parent are fsynced. A root that
// already has this cluster and id is left as it is, without an error.
func InitRoot(path string, cluster vocab.ClusterID, id vocab.StorageID) error {
	if err := initRoot(path, cluster, id); err != nil {
		return fmt.Errorf("make root %s: %w", path, err)
	}
	return nil
}

func initRoot(path string, cluster vocab.ClusterID, id vocab.StorageID) error {
	if cluster == (vocab.ClusterID{}) || id.CID == 0 || id.SID == 0 {
		return vocab.Errorf(vocab.Invalid, "cluster %v, storage %v: none of them may be zero", cluster, id)
	}
	switch have, err := ReadRoot(path); {
	case err == nil && have.Cluster == cluster && have.ID == id:
		return nil
	case err == nil:
		return vocab.Errorf(vocab.Exists, "it already is the root of storage %v of cluster %v: use another directory", have.ID, have.Cluster)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := checkEmpty(path); err != nil {
		return err
	}
	identity := Identity{Cluster: cluster, ID: id, Incarnation: vocab.Incarnation(randomID())}
	if err := placeIdentity(path, identity); err != nil {
		return err
	}
	return errors.Join(syncPath(path), syncPath(filepath.Dir(path)))
}

// syncPath makes the entries of a directory outside any root durable.
func syncPath(path string) error {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// InitDisk makes an empty disk the root that identity says: InitRoot for a disk that is
// not the operating system's.
func InitDisk(d disk.Disk, identity Identity) error {
	f, err := d.Open(IdentityFile, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(identity.marshal(), 0)
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close(), d.SyncDir("."))
}

// checkEmpty refuses a directory with content, which is hardly meant to become
// a root. A new file system's lost+found does no harm.
func checkEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n != "lost+found" && n != identityTemp {
			return vocab.Errorf(vocab.NotEmpty, "it contains %q: a new root must be empty", n)
		}
	}
	return nil
}

func placeIdentity(path string, id Identity) error {
	r, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := r.OpenFile(identityTemp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(id.marshal())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := r.Link(identityTemp, IdentityFile); err != nil {
		return err
	}
	return r.Remove(identityTemp)
}

// randomID draws a number that is not 0.
func randomID() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.LittleEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
