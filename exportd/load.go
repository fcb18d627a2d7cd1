package exportd

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// firstIno is the first inode number: 1 is what FUSE calls its root.
const firstIno = 2

// epochsUnrecorded is skipped at each start: a grant of a read lease takes an epoch
// without writing the counter, and an epoch is handed out once.
const epochsUnrecorded = 1 << 20

// load reads what the server keeps in memory and makes new exports' roots.
func (s *Server) load() error {
	for i := range s.cfg.Volumes {
		v := &s.cfg.Volumes[i]
		s.volumes[v.VID] = v
	}
	if there, err := value(s.db, countersKey(), &s.count); err != nil {
		return err
	} else if !there {
		s.count.ino = firstIno - 1
	}
	s.count.epoch += epochsUnrecorded
	if err := s.loadExports(); err != nil {
		return err
	}
	s.durable.Store(s.count.applied)
	s.graceIno = vocab.Ino(s.count.ino)
	s.graceEnd = s.cfg.Clock().Add(s.life())
	for _, step := range []func() error{s.loadSessions, s.loadOutcomes, s.loadLeases, s.loadOrphans, s.loadRecovery, s.loadDegraded, s.loadStorages, s.loadTasks} {
		if err := step(); err != nil {
			return err
		}
	}
	for sess := range s.fenced {
		s.collectFence(sess)
	}
	return s.sweepOrphans()
}

func (s *Server) loadExports() error {
	for _, e := range s.cfg.Exports {
		x := &export{Export: e, vol: s.volumes[e.VID]}
		s.exports[e.EID] = x
		there, err := value(s.db, exportKey(e.EID), &x.exportRecord)
		if err != nil {
			return err
		}
		if there && x.vid != e.VID {
			return fmt.Errorf("export %d lies on volume %d, the configuration says volume %d: its files cannot move, name the old volume or a new eid", e.EID, x.vid, e.VID)
		}
		if there {
			continue
		}
		if err := s.own(x, func(t *tx) error { t.makeRoot(); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot begins a new export. Its root directory belongs to who runs exportd.
func (t *tx) makeRoot() {
	n := t.newInode(vocab.ModeDir|0o755, uint32(os.Getuid()), uint32(os.Getgid()))
	n.parent = n.attr.Ino
	t.files-- // the root does not count
	rec := exportRecord{root: n.attr.Ino, vid: t.exp.VID}
	t.set(exportKey(t.exp.EID), &rec)
	t.hook(func() { t.exp.exportRecord = rec })
}

// each decodes every record under a prefix.
func each[T any, P interface {
	*T
	wire.Message
}](s *Server, prefix byte, keyBytes int, visit func(key []byte, record T) error) error {
	return scan(s.db, []byte{prefix}, []byte{prefix}, func(k, v []byte) (bool, error) {
		var record T
		if len(k) != keyBytes {
			return false, vocab.Errorf(vocab.Corrupt, "metadata key %x is of %d bytes, want %d", k, len(k), keyBytes)
		}
		if err := decode(k, v, P(&record)); err != nil {
			return false, err
		}
		return true, visit(k, record)
	})
}

func (s *Server) loadSessions() error {
	return each(s, prefixSession, 9, func(k []byte, r sessionRecord) error {
		x := s.exports[r.eid]
		if x == nil {
			s.log.Warn("a session belongs to an export that is not configured; it is kept until that is", "session", r.name, "eid", uint16(r.eid))
			return nil
		}
		sess := s.newSession(vocab.SessionID(binary.BigEndian.Uint64(k[1:])), r, x)
		s.sessions[sess.id] = sess
		if sess.fence != 0 {
			close(sess.ended)
			s.fenced[sess] = newFenceState()
		} else {
			s.grace[sess] = struct{}{}
		}
		return nil
	})
}

func (s *Server) loadOutcomes() error {
	return each(s, prefixOutcome, 17, func(k []byte, r outcome) error {
		if sess := s.sessions[vocab.SessionID(binary.BigEndian.Uint64(k[1:]))]; sess != nil {
			sess.outcomes[binary.BigEndian.Uint64(k[9:])] = r
		}
		return nil
	})
}

func (s *Server) loadLeases() error {
	return each(s, prefixLease, inodeKeyBytes, func(k []byte, r leaseRecord) error {
		eid, ino, _ := parseFileKey(k)
		x, sess := s.exports[eid], s.sessions[r.session]
		if x == nil || sess == nil {
			if x != nil {
				s.log.Error("a write lease belongs to an unknown session; the file stays closed to writers", "ino", uint64(ino), "session", uint64(r.session))
			}
			return nil
		}
		h := s.hold(s.entry(x, ino), sess)
		h.lease = wire.Lease{Kind: wire.LeaseWrite, Epoch: r.epoch}
		return nil
	})
}

func (s *Server) loadOrphans() error {
	return s.loadFileSet(prefixOrphan, s.orphans)
}

func (s *Server) loadRecovery() error {
	return s.loadFileSet(prefixRecovery, s.recovery)
}

func (s *Server) loadDegraded() error {
	return s.loadFileSet(prefixDegraded, s.degraded)
}

func (s *Server) loadFileSet(prefix byte, set map[vocab.Ino]*export) error {
	return scan(s.db, []byte{prefix}, []byte{prefix}, func(k, _ []byte) (bool, error) {
		eid, ino, ok := parseFileKey(k)
		if !ok {
			return false, vocab.Errorf(vocab.Corrupt, "metadata key %x", k)
		}
		if x := s.exports[eid]; x != nil {
			set[ino] = x
		}
		return true, nil
	})
}
