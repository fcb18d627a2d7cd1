package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
)

// smallContent is what every small file holds.
var smallContent = bytes.Repeat([]byte("rozo bench\n"), smallFileBytes/11+1)[:smallFileBytes]

func smallDir(t target, dir int) string { return t.path(fmt.Sprintf("small-%02d", dir)) }

// small has the workers do something to every small file, each to its share.
func (b *bench) small(do func(path string) error) func(context.Context, target) (int64, error) {
	return func(ctx context.Context, t target) (int64, error) {
		for dir := range smallDirs {
			if err := os.Mkdir(smallDir(t, dir), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return 0, err
			}
		}
		return each(ctx, b.Workers, func(ctx context.Context, worker int) (n int64, err error) {
			for i := worker; i < b.Files; i += b.Workers {
				if err := context.Cause(ctx); err != nil {
					return n, err
				}
				if err := do(fmt.Sprintf("%s/%d", smallDir(t, i%smallDirs), i)); err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		})
	}
}

func createSmall(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(smallContent)
	return errors.Join(err, f.Close())
}

func statSmall(path string) error {
	st, err := os.Lstat(path)
	if err == nil && st.Size() != smallFileBytes {
		err = fmt.Errorf("%s has %d bytes, not the %d written", path, st.Size(), smallFileBytes)
	}
	return err
}

func readSmall(path string) error {
	got, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(got, smallContent) {
		err = fmt.Errorf("%s does not hold what was written", path)
	}
	return err
}

// list reads the directories and stats each entry, as ls -l does, one after
// another.
func (b *bench) list(ctx context.Context, t target) (n int64, err error) {
	for dir := range smallDirs {
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		entries, err := os.ReadDir(smallDir(t, dir))
		if err != nil {
			return n, err
		}
		for _, e := range entries {
			if _, err := e.Info(); err != nil {
				return n, err
			}
			n++
		}
	}
	if n != int64(b.Files) {
		return n, fmt.Errorf("%d entries listed, %d files made", n, b.Files)
	}
	return n, nil
}
