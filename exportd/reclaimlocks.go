package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/ranges"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// ownedFile is all that one owner has on one file, of one table.
type ownedFile struct {
	ino   vocab.Ino
	owner lockOwner
	flock bool
}

// reclaimLocks makes what the session holds what the client says that it holds. The client
// knows better: what was granted and not heard of is taken off, and after a restart nobody
// else knows.
func (s *Server) reclaimLocks(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.ReclaimLocksRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, repeated, func(t *tx) (wire.Message, error) {
		l := &t.sess.locks
		if len(l.claims)+len(m.Locks) > 2*MaxLocksPerSession {
			return nil, vocab.Errorf(vocab.NoLocks, "more than %d locks are claimed", 2*MaxLocksPerSession)
		}
		l.claims = append(l.claims, m.Locks...)
		if !m.Last {
			return &wire.ReclaimLocksReply{}, nil
		}
		claims := l.claims
		l.claims = nil
		lost, err := t.claimLocks(claims)
		return &wire.ReclaimLocksReply{Lost: lost}, err
	})
}

// claimLocks replaces the locks of t.sess, and returns the first lock of each owner and file
// that has lost them.
func (t *tx) claimLocks(claims []wire.HeldLock) (lost []uint32, err error) {
	there := map[vocab.Ino]bool{}
	for i := range claims {
		_, err := t.inode(claims[i].Ino)
		if err != nil && !isKind(err, vocab.Stale) {
			return nil, err
		}
		there[claims[i].Ino] = err == nil
	}
	had := map[ownedFile]*lockTable{}
	changed := t.s.takeLocks(t.sess, had)
	for first, next := 0, 0; first < len(claims); first = next {
		of := t.owned(&claims[first])
		for next = first + 1; next < len(claims) && t.owned(&claims[next]) == of; next++ {
		}
		if !there[of.ino] || !t.claimOwned(claims[first:next], had[of]) {
			lost = append(lost, uint32(first))
		}
	}
	for _, f := range changed {
		t.s.grantLocks(f)
		t.s.tidyLocks(f)
	}
	return lost, nil
}

func (t *tx) owned(l *wire.HeldLock) ownedFile {
	return ownedFile{l.Ino, lockOwner{t.sess, l.Owner}, l.Kind == wire.LockFlock}
}

// claimOwned sets the locks of one owner on one file again, or none of them. It had them
// before, or this exportd has not been running for long enough to know; then nothing
// conflicting was granted meanwhile.
func (t *tx) claimOwned(claims []wire.HeldLock, had *lockTable) bool {
	_, grace := t.s.grace[t.sess]
	f := t.s.locksOn(t.exp, claims[0].Ino)
	defer t.s.tidyLocks(f)
	var all []*lockWait
	for i := range claims {
		w := newLockWait(t.sess, f, claims[i].Lock)
		switch {
		case w.lock.Type == wire.LockNone:
			return false
		case grace && !w.table().Blocked(w.asked()):
			all = append(all, w)
		case !grace && had != nil && had.Covers(w.reading()):
			all = append(all, w.within(had)...)
		default:
			return false
		}
	}
	for i, w := range all {
		if t.s.setLock(w) != nil { // over a limit, which the owner had kept to
			for _, set := range all[:i] {
				t.s.clearLock(set)
			}
			return false
		}
	}
	return true
}

// reading is the claim if it were for reading.
func (w *lockWait) reading() ranges.Lock[lockOwner] {
	l := w.asked()
	l.Write = false
	return l
}

// within is the claim as far as the owner had it. It may have come down to reading, when the
// answer to that was lost; the client asks for it again.
func (w *lockWait) within(had *lockTable) (all []*lockWait) {
	for x := range had.All() {
		if x.Start > w.lock.End || x.End < w.lock.Start {
			continue
		}
		part := *w
		part.lock.Start, part.lock.End = max(x.Start, w.lock.Start), min(x.End, w.lock.End)
		if !x.Write {
			part.lock.Type = wire.LockRead
		}
		all = append(all, &part)
	}
	return all
}

// takeLocks takes off all locks of a session, and tells which files that changes. had, if
// not nil, gets what each owner had.
func (s *Server) takeLocks(sess *session, had map[ownedFile]*lockTable) (changed []*fileLocks) {
	for _, f := range s.locks.files {
		before := f.ranges.Len() + f.flocks.Len()
		for _, flock := range []bool{false, true} {
			table := &f.ranges
			if flock {
				table = &f.flocks
			}
			for l := range table.All() {
				if l.Owner.sess == sess && had != nil {
					keep(had, ownedFile{f.ino, l.Owner, flock}, l)
				}
			}
			table.Remove(func(o lockOwner) bool { return o.sess == sess })
		}
		if f.ranges.Len()+f.flocks.Len() < before {
			changed = append(changed, f)
		}
	}
	sess.locks.held = 0
	return changed
}

func keep(had map[ownedFile]*lockTable, of ownedFile, l ranges.Lock[lockOwner]) {
	if had[of] == nil {
		had[of] = &lockTable{}
	}
	had[of].Set(l)
}
