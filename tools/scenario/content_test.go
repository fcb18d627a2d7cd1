package scenario

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// generator yields content that no two seeds share.
func generator(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// bytesOf is the content of a small file.
func bytesOf(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = generator(seed).Read(b) // never fails
	return b
}

// writer writes a big file and computes its sum meanwhile.
type writer struct {
	path  string
	seed  uint64
	size  int64
	reach []chan struct{} // the i-th is closed when (i+1)/(len+1) is written
}

func newWriter(path string, seed uint64, size int64, stations int) *writer {
	w := &writer{path: path, seed: seed, size: size}
	for range stations {
		w.reach = append(w.reach, make(chan struct{}))
	}
	return w
}

// write writes, syncs and closes; every error of these is the caller's to see.
func (w *writer) write() (sum string, err error) {
	next := 0
	defer func() {
		for ; next < len(w.reach); next++ {
			close(w.reach[next]) // nobody is to wait for one that has failed
		}
	}()
	f, err := os.Create(w.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash, content, buf := sha256.New(), generator(w.seed), make([]byte, mib)
	for at := int64(0); at < w.size; {
		if next < len(w.reach) && at >= w.size*int64(next+1)/int64(len(w.reach)+1) {
			close(w.reach[next])
			next++
		}
		n := min(int64(len(buf)), w.size-at)
		_, _ = content.Read(buf[:n])
		hash.Write(buf[:n])
		if _, err := f.Write(buf[:n]); err != nil {
			return "", fmt.Errorf("at %d: %w", at, err)
		}
		at += n
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), f.Close()
}

// requireSum reads a file back from the cluster: the kernel drops what it holds
// of it first.
func requireSum(t *testing.T, path, sum, when string) {
	t.Helper()
	got, err := sumOf(path)
	require.NoError(t, err, "%s %s", path, when)
	require.Equal(t, sum, got, "%s %s", path, when)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := dropCache(f); err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{hash}, struct{ io.Reader }{f}, make([]byte, mib)); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// dropCache makes the kernel forget the content of a file.
func dropCache(f *os.File) error {
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
