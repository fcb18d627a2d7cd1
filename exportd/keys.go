package exportd

import (
	"encoding/binary"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// First bytes of keys; doc.go describes the key space.
const (
	prefixIdentity  = 'M'
	prefixCounters  = 'C'
	prefixExport    = 'E'
	prefixInode     = 'I'
	prefixDirent    = 'D'
	prefixSession   = 'S'
	prefixOutcome   = 'R'
	prefixLease     = 'L'
	prefixRecovery  = 'N'
	prefixDegraded  = 'P'
	prefixOrphan    = 'O'
	prefixDeletion  = 'X'
	prefixStorage   = 'T'
	prefixTask      = 'K'
	prefixXattr     = 'A'
	inodeKeyBytes   = 1 + 2 + 8
	direntKeyBytes  = inodeKeyBytes + 8
	storageKeyBytes = 1 + 2 + 2 + 1
)

func identityKey() []byte { return []byte{prefixIdentity} }
func countersKey() []byte { return []byte{prefixCounters} }

func exportKey(eid vocab.EID) []byte {
	return binary.BigEndian.AppendUint16([]byte{prefixExport}, uint16(eid))
}

// fileKey is that of inodes, their extended attributes, write leases, files that need recovery and orphans.
func fileKey(prefix byte, eid vocab.EID, ino vocab.Ino) []byte {
	k := make([]byte, 0, direntKeyBytes)
	k = append(k, prefix)
	k = binary.BigEndian.AppendUint16(k, uint16(eid))
	return binary.BigEndian.AppendUint64(k, uint64(ino))
}

func parseFileKey(k []byte) (eid vocab.EID, ino vocab.Ino, ok bool) {
	if len(k) != inodeKeyBytes {
		return 0, 0, false
	}
	return vocab.EID(binary.BigEndian.Uint16(k[1:])), vocab.Ino(binary.BigEndian.Uint64(k[3:])), true
}

func direntKey(eid vocab.EID, parent vocab.Ino, cookie uint64) []byte {
	return binary.BigEndian.AppendUint64(fileKey(prefixDirent, eid, parent), cookie)
}

func parseDirentKey(k []byte) (eid vocab.EID, parent vocab.Ino, cookie uint64, ok bool) {
	if len(k) != direntKeyBytes {
		return 0, 0, 0, false
	}
	eid, parent, _ = parseFileKey(k[:inodeKeyBytes])
	return eid, parent, binary.BigEndian.Uint64(k[inodeKeyBytes:]), true
}

func sessionKey(id vocab.SessionID) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixSession}, uint64(id))
}

func outcomeKey(id vocab.SessionID, request uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte{prefixOutcome}, uint64(id))
	return binary.BigEndian.AppendUint64(k, request)
}

// place names a storage among all volumes: cids are unique within a volume only.
type place struct {
	vid vocab.VID
	id  vocab.StorageID
}

// places are the storages of a file, by position.
func (x *export) places(p *vocab.Placement) []place {
	all := make([]place, len(p.Distribution.SIDs))
	for i, sid := range p.Distribution.SIDs {
		all[i] = place{x.VID, vocab.StorageID{CID: p.Distribution.CID, SID: sid}}
	}
	return all
}

func (p place) appendTo(k []byte) []byte {
	k = binary.BigEndian.AppendUint16(k, uint16(p.vid))
	k = binary.BigEndian.AppendUint16(k, uint16(p.id.CID))
	return append(k, byte(p.id.SID))
}

func storageKey(p place) []byte { return p.appendTo([]byte{prefixStorage}) }

func taskKey(kind wire.TaskKind, p place) []byte { return p.appendTo([]byte{prefixTask, byte(kind)}) }

func parseStorageKey(k []byte) (p place, ok bool) {
	if len(k) < storageKeyBytes {
		return p, false
	}
	return place{vocab.VID(binary.BigEndian.Uint16(k[1:])), vocab.StorageID{
		CID: vocab.CID(binary.BigEndian.Uint16(k[3:])), SID: vocab.SID(k[5]),
	}}, true
}

func deletionKey(p place, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(p.appendTo([]byte{prefixDeletion}), seq)
}

// after returns the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
