package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// maxListBytes keeps a reply well below wire.MaxBody.
const (
	maxListBytes  = wire.MaxBody - 64<<10
	entryBytesMin = 76 // of an entry on the wire, without its name
)

// readdir lists a range of a directory in order of cookies. A cookie belongs to
// its entry as long as that lives, so whatever comes or goes beside it, an entry
// is returned once.
func (s *Server) readdir(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.ReaddirRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if m.Max == 0 || m.Max > wire.MaxEntries {
		return nil, vocab.Errorf(vocab.Invalid, "%d entries asked for, want 1 to %d", m.Max, wire.MaxEntries)
	}
	var reply *wire.ReaddirReply
	_, err := s.call(ctx, r, &m.Head, reads, func(t *tx) (_ wire.Message, err error) {
		reply, err = t.list(&m)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	if m.Plus {
		if err := s.fillAttrs(ctx, r, &m, reply); err != nil {
			return nil, err
		}
	}
	return reply, nil
}

func (t *tx) list(m *wire.ReaddirRequest) (*wire.ReaddirReply, error) {
	dir, err := t.directory(m.Ino)
	if err != nil {
		return nil, err
	}
	t.saw(dir.index)
	reply := &wire.ReaddirReply{Parent: dir.parent, Last: true}
	if m.Cookie+1 == 0 || dir.entries == 0 {
		return reply, nil
	}
	size := 0
	prefix := fileKey(prefixDirent, t.exp.EID, m.Ino)
	err = scan(t.s.db, prefix, direntKey(t.exp.EID, m.Ino, m.Cookie+1), func(k, v []byte) (bool, error) {
		_, _, cookie, ok := parseDirentKey(k)
		if !ok {
			return false, vocab.Errorf(vocab.Corrupt, "metadata key %x", k)
		}
		var e slot
		if err := decode(k, v, &e); err != nil {
			return false, err
		}
		if e.name == "" {
			return true, nil
		}
		size += entryBytesMin + len(e.name)
		if len(reply.Entries) >= int(m.Max) || size > maxListBytes {
			reply.Last = false
			return false, nil
		}
		reply.Entries = append(reply.Entries, wire.Entry{Name: e.name, Cookie: cookie, Attr: vocab.Attr{Ino: e.ino, Mode: e.mode}})
		return true, nil
	})
	return reply, err
}

// fillAttrs adds the attributes. First those of files that nobody is writing,
// under one lock; then the others, each as soon as its writer has come down.
// Entries whose file is gone by then are left out.
func (s *Server) fillAttrs(ctx context.Context, r *wire.Request, m *wire.ReaddirRequest, reply *wire.ReaddirReply) error {
	late, err := s.fillFree(ctx, r, m, reply.Entries)
	if err != nil {
		return err
	}
	gone := map[int]bool{}
	for _, i := range late {
		e := &reply.Entries[i]
		answer, err := s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) { return t.attrOf(e.Attr.Ino) })
		switch {
		case isKind(err, vocab.Stale):
			gone[i] = true
		case err != nil:
			return err
		default:
			e.Attr = answer.(*wire.AttrReply).Attr
		}
	}
	if len(gone) == 0 {
		return nil
	}
	kept := reply.Entries[:0]
	for i := range reply.Entries {
		if !gone[i] {
			kept = append(kept, reply.Entries[i])
		}
	}
	reply.Entries = kept
	return nil
}

// fillFree returns the entries that it had to leave, and has recalled what
// protects them.
func (s *Server) fillFree(ctx context.Context, r *wire.Request, m *wire.ReaddirRequest, entries []wire.Entry) (late []int, err error) {
	var waits []conflict
	sess := (*session)(nil)
	_, err = s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) {
		late, waits, sess = nil, nil, t.sess
		for i := range entries {
			n, err := t.inode(entries[i].Attr.Ino)
			if err == nil {
				err = t.protect(n, wire.LeaseRead)
			}
			if c, ok := err.(*conflict); ok {
				waits, late = append(waits, *c), append(late, i)
				continue
			}
			if isKind(err, vocab.Stale) {
				late = append(late, i)
				continue
			}
			if err != nil {
				return nil, err
			}
			entries[i].Attr = n.attr
		}
		return nil, nil
	})
	if err == nil && len(waits) > 0 {
		s.recallAll(sess, waits)
	}
	return late, err
}

// recallAll sends all recalls at once, so that waiting for one after the other
// takes as long as the slowest.
func (s *Server) recallAll(sess *session, waits []conflict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range waits {
		if e := s.files[waits[i].ino]; e != nil {
			s.recallFor(sess, e, waits[i].keep())
		}
	}
}
