package exportd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// maxFindings bounds what a check lists.
const maxFindings = 1000

// Check compares the stored metadata with itself and returns what does not fit:
// entries without inodes, wrong counts of links, entries, files and bytes, wrong
// parents, inodes that no name and no orphan record keeps, undecodable records.
// It works on a snapshot, beside running requests, and holds a small record per
// inode in memory.
func (s *Server) Check(ctx context.Context) []error {
	snap := s.db.NewSnapshot()
	c := checker{ctx: ctx, r: snap, hash: s.hash, incarnation: s.store.incarnation}
	c.run()
	if err := snap.Close(); err != nil {
		c.bad("snapshot: %w", err)
	}
	return c.found
}

// CheckDirectory is Check for the metadata of a server that does not run.
func CheckDirectory(ctx context.Context, dir string) []error {
	return checkDirectoryOn(ctx, dir, vfs.Default)
}

func checkDirectoryOn(ctx context.Context, dir string, files vfs.FS) []error {
	st, err := openStore(dir, files, vocab.ClusterID{}, DefaultCacheBytes, slog.New(slog.DiscardHandler), true)
	if err != nil {
		return []error{err}
	}
	c := checker{ctx: ctx, r: st.db, hash: hashName, incarnation: st.incarnation}
	c.run()
	if err := st.close(); err != nil {
		c.bad("closing: %w", err)
	}
	return c.found
}

type checker struct {
	ctx         context.Context
	r           pebble.Reader
	hash        func(string) uint64
	incarnation uint32

	found   []error
	count   counters
	exports map[vocab.EID]*exportRecord
	inodes  map[inodeID]*checkedInode
	orphans map[inodeID]bool
}

// checkedInode is what is remembered of an inode.
type checkedInode struct {
	mode, nlink, entries uint32
	parent               vocab.Ino
	xattrs               bool // their record was found

	names, dirs, seen uint32 // entries that name it; directories and entries in it
	namedIn           vocab.Ino
}

func (c *checker) bad(format string, args ...any) {
	if len(c.found) < maxFindings {
		c.found = append(c.found, fmt.Errorf(format, args...))
	}
}

func (c *checker) run() {
	c.exports, c.inodes, c.orphans = map[vocab.EID]*exportRecord{}, map[inodeID]*checkedInode{}, map[inodeID]bool{}
	if _, err := value(c.r, countersKey(), &c.count); err != nil {
		c.bad("%w", err)
	}
	for _, step := range []func() error{c.readExports, c.readInodes, c.readXattrs, c.readOrphans, c.readDirents, c.readLeases} {
		if err := step(); err != nil {
			c.bad("%w", err)
			return
		}
	}
	c.judge()
}

func (c *checker) scan(prefix byte, visit func(k, v []byte) error) error {
	return scan(c.r, []byte{prefix}, []byte{prefix}, func(k, v []byte) (bool, error) {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		err := visit(k, v)
		if errors.Is(err, vocab.Corrupt) {
			c.bad("%w", err)
			err = nil
		}
		return true, err
	})
}

func (c *checker) readExports() error {
	return c.scan(prefixExport, func(k, v []byte) error {
		if len(k) != 3 {
			return errKey(k)
		}
		rec := new(exportRecord)
		c.exports[vocab.EID(k[1])<<8|vocab.EID(k[2])] = rec
		return decode(k, v, rec)
	})
}

func errKey(k []byte) error { return vocab.Errorf(vocab.Corrupt, "metadata key %x", k) }

func (c *checker) readInodes() error {
	files, bytes := map[vocab.EID]uint64{}, map[vocab.EID]uint64{}
	err := c.scan(prefixInode, func(k, v []byte) error {
		eid, ino, ok := parseFileKey(k)
		if !ok {
			return errKey(k)
		}
		var n inode
		if err := decode(k, v, &n); err != nil {
			return err
		}
		if n.attr.Ino != ino || uint64(ino) > c.count.ino {
			c.bad("export %d inode %d: its record says %d, the last number handed out is %d", eid, ino, n.attr.Ino, c.count.ino)
		}
		files[eid]++
		if n.attr.IsRegular() {
			bytes[eid] += n.attr.Size
			c.checkPlacement(eid, &n)
		}
		c.inodes[inodeID{eid, ino}] = &checkedInode{mode: n.attr.Mode, nlink: n.attr.Nlink, entries: n.entries, parent: n.parent}
		return nil
	})
	for eid, x := range c.exports {
		if x.files+1 != files[eid] || x.bytes != bytes[eid] {
			c.bad("export %d: its use says %d files and %d bytes, there are %d and %d", eid, x.files, x.bytes, files[eid]-1, bytes[eid])
		}
	}
	return err
}

func (c *checker) checkPlacement(eid vocab.EID, n *inode) {
	p := &n.placement
	if err := p.Geometry.Validate(); err != nil {
		c.bad("export %d inode %d: %w", eid, n.attr.Ino, err)
	}
	if p.FID.Ino() != n.attr.Ino || p.FID.Export() != eid || len(p.Distribution.SIDs) != int(p.Geometry.Layout.Safe) {
		c.bad("export %d inode %d: placement %v on %d storages does not fit", eid, n.attr.Ino, p.FID, len(p.Distribution.SIDs))
	}
}

func (c *checker) readXattrs() error {
	return c.scan(prefixXattr, func(k, v []byte) error {
		eid, ino, ok := parseFileKey(k)
		if !ok {
			return errKey(k)
		}
		var r xattrRecord
		if err := decode(k, v, &r); err != nil {
			return err
		}
		n := c.inodes[inodeID{eid, ino}]
		if n == nil || n.mode&vocab.ModeXattr == 0 {
			c.bad("export %d inode %d: it has extended attributes, but is gone or says that it has none", eid, ino)
			return nil
		}
		n.xattrs = true
		if _, there := r.find(vocab.XattrCapability); there != (n.mode&vocab.ModeCapability != 0) {
			c.bad("export %d inode %d: %s is there: %v, its mode is %#o", eid, ino, vocab.XattrCapability, there, n.mode)
		}
		for i, x := range r.list {
			if checkXattrName(x.name) != nil || i > 0 && x.name <= r.list[i-1].name {
				c.bad("export %d inode %d: extended attribute %q", eid, ino, x.name)
			}
		}
		return nil
	})
}

func (c *checker) readOrphans() error {
	return c.scan(prefixOrphan, func(k, _ []byte) error {
		eid, ino, ok := parseFileKey(k)
		if !ok {
			return errKey(k)
		}
		id := inodeID{eid, ino}
		c.orphans[id] = true
		if n := c.inodes[id]; n == nil || n.nlink != 0 {
			c.bad("export %d inode %d: listed as an orphan, but is gone or has names", eid, ino)
		}
		return nil
	})
}

func (c *checker) readDirents() error {
	return c.scan(prefixDirent, func(k, v []byte) error {
		eid, parent, cookie, ok := parseDirentKey(k)
		if !ok {
			return errKey(k)
		}
		var e slot
		if err := decode(k, v, &e); err != nil {
			return err
		}
		if e.name == "" {
			return nil // a tombstone
		}
		if checkName(e.name) != nil || isDot(e.name) || cookie>>cookieBits != c.hash(e.name) || cookie == 0 || cookie > math.MaxInt64 {
			c.bad("export %d directory %d: entry %q has cookie %#x", eid, parent, e.name, cookie)
		}
		c.checkEntry(eid, parent, &e)
		return nil
	})
}

func (c *checker) checkEntry(eid vocab.EID, parent vocab.Ino, e *slot) {
	dir, n := c.inodes[inodeID{eid, parent}], c.inodes[inodeID{eid, e.ino}]
	if dir == nil || dir.mode&vocab.ModeType != vocab.ModeDir {
		c.bad("export %d directory %d: not there, but has entry %q", eid, parent, e.name)
		return
	}
	dir.seen++
	if n == nil {
		c.bad("export %d directory %d: entry %q names inode %d, which is not there", eid, parent, e.name, e.ino)
		return
	}
	if n.mode&vocab.ModeType != e.mode {
		c.bad("export %d directory %d: entry %q says type %#o, inode %d is %#o", eid, parent, e.name, e.mode, e.ino, n.mode)
	}
	n.names++
	if e.mode == vocab.ModeDir {
		dir.dirs++
		n.namedIn = parent
	}
}

func (c *checker) readLeases() error {
	return c.scan(prefixLease, func(k, v []byte) error {
		eid, ino, ok := parseFileKey(k)
		if !ok {
			return errKey(k)
		}
		var rec leaseRecord
		if err := decode(k, v, &rec); err != nil {
			return err
		}
		if c.inodes[inodeID{eid, ino}] == nil {
			c.bad("export %d inode %d: leased, but gone", eid, ino)
		}
		if rec.epoch > vocab.MakeEpoch(c.incarnation, c.count.epoch) {
			c.bad("export %d inode %d: leased under epoch %d, which was never handed out", eid, ino, rec.epoch)
		}
		if there, err := value(c.r, sessionKey(rec.session), new(sessionRecord)); err != nil {
			return err
		} else if !there {
			c.bad("export %d inode %d: leased to session %d, which is not there", eid, ino, rec.session)
		}
		return nil
	})
}

// judge compares what was counted with what is recorded.
func (c *checker) judge() {
	for id, n := range c.inodes {
		x := c.exports[id.eid]
		isRoot := x != nil && x.root == id.ino
		want := n.names
		if n.mode&vocab.ModeType == vocab.ModeDir {
			if want = 2 + n.dirs; c.orphans[id] {
				want = 0
			}
			c.judgeDir(id, n, isRoot)
		}
		if n.mode&vocab.ModeXattr != 0 && !n.xattrs {
			c.bad("export %d inode %d: its extended attributes are gone", id.eid, id.ino)
		}
		if n.nlink != want {
			c.bad("export %d inode %d: %d links recorded, %d counted", id.eid, id.ino, n.nlink, want)
		}
		if n.names == 0 && !isRoot && !c.orphans[id] {
			c.bad("export %d inode %d: no name leads to it", id.eid, id.ino)
		}
	}
}

func (c *checker) judgeDir(id inodeID, n *checkedInode, isRoot bool) {
	if n.entries != n.seen {
		c.bad("export %d directory %d: %d entries recorded, %d counted", id.eid, id.ino, n.entries, n.seen)
	}
	switch {
	case isRoot:
		if n.names != 0 || n.parent != id.ino {
			c.bad("export %d: the root has %d names, and %d as its parent", id.eid, n.names, n.parent)
		}
	case n.names > 1:
		c.bad("export %d directory %d: %d names", id.eid, id.ino, n.names)
	case n.names == 1 && n.parent != n.namedIn:
		c.bad("export %d directory %d: its parent is recorded as %d, its name is in %d", id.eid, id.ino, n.parent, n.namedIn)
	}
	// a directory that is named, but not reachable from the root, lies in a loop
	at, depth := id.ino, 0
	for ; depth < maxDepth; depth++ {
		p := c.inodes[inodeID{id.eid, at}]
		if p == nil || p.parent == at || c.orphans[inodeID{id.eid, at}] {
			return
		}
		at = p.parent
	}
	c.bad("export %d directory %d: not reachable from the root", id.eid, id.ino)
}
