package rozofs

import (
	"context"
	"errors"
	"math"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// LockRange waits until the file holds a lock on n bytes from offset off, or from there on
// if n is 0: one for writing excludes all others', one for reading those that write. It
// belongs to this open file, as Linux's open file description locks do, and excludes those of
// all mounts and programs; what this file has there already it replaces. Close takes it off.
func (f *File) LockRange(ctx context.Context, off, n int64, write bool) error {
	_, err := f.lockRange(ctx, "lock", off, n, lockType(write), true)
	return err
}

// TryLockRange does so without waiting: false if another is in the way.
func (f *File) TryLockRange(ctx context.Context, off, n int64, write bool) (bool, error) {
	return f.lockRange(ctx, "lock", off, n, lockType(write), false)
}

// UnlockRange takes off what this file has locked of the range.
func (f *File) UnlockRange(ctx context.Context, off, n int64) error {
	_, err := f.lockRange(ctx, "unlock", off, n, wire.LockNone, false)
	return err
}

func lockType(write bool) wire.LockType {
	if write {
		return wire.LockWrite
	}
	return wire.LockRead
}

func (f *File) lockRange(ctx context.Context, op string, off, n int64, t wire.LockType, wait bool) (bool, error) {
	if f.h == nil {
		return false, f.failed(op, vocab.Errorf(vocab.IsDir, "a directory is not locked"))
	}
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		return false, f.failed(op, vocab.Errorf(vocab.Invalid, "%d bytes from %d", n, off))
	}
	l := wire.Lock{Owner: f.h.ownOwner(), Kind: wire.LockOFD, Type: t, Start: uint64(off), End: math.MaxInt64}
	if n > 0 {
		l.End = uint64(off + n - 1)
	}
	err := f.h.Lock(ctx, l, wait)
	if errors.Is(err, vocab.Locked) {
		return false, nil
	}
	return err == nil, f.failed(op, err)
}

// ownOwner is the handle's own name as an owner of locks.
func (h *Handle) ownOwner() uint64 {
	l := &h.f.c.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.owner == 0 {
		l.ticket++
		h.owner = l.ticket
	}
	return h.owner
}
