package exportd

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// fewDeletions is a batch that was hardly worth its syncs.
const fewDeletions = 256

// queueDeletion has all storages of a deleted file told, each by a record of its
// own, which goes when that storage has confirmed. A storage that is away holds
// up no other.
func (t *tx) queueDeletion(p *vocab.Placement) {
	for _, where := range t.exp.places(p) {
		t.deleteAt(where, deletionRecord{fid: p.FID})
	}
}

func (t *tx) deleteAt(where place, r deletionRecord) {
	t.count.deletion++
	t.set(deletionKey(where, t.count.deletion), &r)
	if sto := t.s.storages[where]; sto != nil {
		t.hook(sto.wake)
	}
}

// deleteFrom works off the queue of one storage.
func (s *Server) deleteFrom(sto *storage) {
	for {
		select {
		case <-sto.kick:
		case <-s.ctx.Done():
			return
		}
		for {
			n, err := s.deleteSome(sto)
			if err != nil && s.ctx.Err() == nil {
				s.log.Debug("deletions wait", "storage", sto.place.id.String(), "err", err)
				s.sleep(s.cfg.PollInterval)
				sto.wake()
			}
			if n == 0 || err != nil {
				break
			}
			if n < fewDeletions {
				s.sleep(s.cfg.PollInterval / 10) // let them gather: each batch costs syncs
			}
		}
	}
}

// deleteSome sends the oldest deletions and, when they are confirmed, forgets them.
func (s *Server) deleteSome(sto *storage) (int, error) {
	conn, incarnation, err := s.reach(sto)
	if err != nil {
		return 0, err
	}
	m := wire.DeleteRequest{Target: wire.Target{ID: sto.place.id, Incarnation: incarnation}}
	prefix := deletionKey(sto.place, 0)[:storageKeyBytes]
	var last []byte
	err = scan(s.db, prefix, prefix, func(k, v []byte) (bool, error) {
		var r deletionRecord
		if err := decode(k, v, &r); err != nil {
			return false, err
		}
		if len(m.FIDs) > 0 && r.generation != m.Generation {
			return false, nil // the next time
		}
		m.Generation = r.generation
		m.FIDs = append(m.FIDs, r.fid)
		last = append(last[:0], k...)
		return len(m.FIDs) < wire.MaxFIDs, nil
	})
	if err != nil || len(m.FIDs) == 0 {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, 6*callTimeout)
	defer cancel()
	if _, err := conn.Call(ctx, wire.OpDelete, &m, wire.Bulk{}, &wire.BootReply{}); err != nil {
		return 0, err
	}
	return len(m.FIDs), s.own(nil, func(t *tx) error {
		t.spans = append(t.spans, [2][]byte{prefix, append(last, 0)})
		return nil
	})
}
