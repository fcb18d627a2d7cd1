package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// A large file is made of requests of 1 MiB, each 4 KiB piece of which begins
// with the number of the piece in the file, so that whoever reads can tell that
// it is the right one; the rest is random.

const piecesPerRequest = sequentialBytes / randomBytes

func largeName(job int) string { return fmt.Sprintf("large-%d", job) }

// sequential has each job carry out do on a file of its own; together the files
// have SizeBytes.
func (b *bench) sequential(jobs int, do func(ctx context.Context, path string, requests int64) error) func(context.Context, target) (int64, error) {
	return func(ctx context.Context, t target) (int64, error) {
		requests := b.SizeBytes / int64(jobs) / sequentialBytes
		return each(ctx, jobs, func(ctx context.Context, job int) (int64, error) {
			return requests * sequentialBytes, do(ctx, t.path(largeName(job)), requests)
		})
	}
}

// writeFile writes the file anew and syncs it.
func writeFile(ctx context.Context, path string, requests int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, sequentialBytes)
	rand.NewChaCha8([32]byte{2}).Read(buf)
	for i := range requests {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for piece := range int64(piecesPerRequest) {
			binary.LittleEndian.PutUint64(buf[piece*randomBytes:], uint64(i*piecesPerRequest+piece))
		}
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return f.Sync()
}

// readFile reads the whole file and looks at the number of each piece.
func readFile(ctx context.Context, path string, requests int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, sequentialBytes)
	for i := range requests {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if _, err := io.ReadFull(f, buf); err != nil {
			return err
		}
		for piece := range int64(piecesPerRequest) {
			if err := checkPiece(buf[piece*randomBytes:], i*piecesPerRequest+piece); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPiece(b []byte, piece int64) error {
	if got := binary.LittleEndian.Uint64(b); got != uint64(piece) {
		return fmt.Errorf("wrong data: at byte %d there is piece %d, not %d", piece*randomBytes, got, piece)
	}
	return nil
}

// random sends requests to random pieces of the files of the last sequential
// workload, a worker to each, for the given time; then all are synced.
func (b *bench) random(do func(f *os.File, buf []byte, piece int64) error) func(context.Context, target) (int64, error) {
	return func(ctx context.Context, t target) (int64, error) {
		pieces := b.SizeBytes / int64(b.Workers) / randomBytes
		deadline := time.Now().Add(b.Random)
		return each(ctx, b.Workers, func(ctx context.Context, worker int) (n int64, err error) {
			f, err := os.OpenFile(t.path(largeName(worker)), os.O_RDWR, 0)
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			where := rand.New(rand.NewPCG(3, uint64(worker)))
			buf := make([]byte, randomBytes)
			for n == 0 || time.Now().Before(deadline) {
				if err := context.Cause(ctx); err != nil {
					return n, err
				}
				if err := do(f, buf, where.Int64N(pieces)); err != nil {
					return n, err
				}
				n++
			}
			return n, f.Sync()
		})
	}
}

func readBlock(f *os.File, buf []byte, piece int64) error {
	if _, err := f.ReadAt(buf, piece*randomBytes); err != nil {
		return err
	}
	return checkPiece(buf, piece)
}

func writeBlock(f *os.File, buf []byte, piece int64) error {
	binary.LittleEndian.PutUint64(buf, uint64(piece))
	_, err := f.WriteAt(buf, piece*randomBytes)
	return err
}
