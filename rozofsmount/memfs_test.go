package rozofsmount

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// memFS is a FileSystem in memory. Its root has another number than FUSE's, and
// its directory cookies are large.
type memFS struct {
	mu      sync.Mutex
	nodes   map[vocab.Ino]*memNode
	lastIno vocab.Ino
	cookie  uint64
	closed  bool
	opens   int // OpenFile and CreateFile less Close
	listed  int // calls of ReadDir
	xattrs  int // calls of GetXattr
	keep    bool

	locks    []memLock // asked for
	released []uint64  // owners

	// hooks run before an operation, by its name and the file's or entry's:
	// "read:f". They are called without the lock.
	hooks map[string]func(ctx context.Context) error
	names map[vocab.Ino]string
}

type memLock struct {
	wire.Lock
	wait bool
}

type memNode struct {
	attr    vocab.Attr
	data    []byte
	target  string
	parent  vocab.Ino
	entries map[string]memEntry
	xattrs  map[string]string
}

type memEntry struct {
	ino    vocab.Ino
	cookie uint64
}

const memRoot = vocab.Ino(7)

func newMemFS() *memFS {
	m := &memFS{
		nodes: map[vocab.Ino]*memNode{}, lastIno: 100, cookie: 1 << 40,
		hooks: map[string]func(context.Context) error{}, names: map[vocab.Ino]string{},
	}
	m.nodes[memRoot] = &memNode{parent: memRoot, entries: map[string]memEntry{}, attr: vocab.Attr{Ino: memRoot, Generation: 3, Mode: vocab.ModeDir | 0o755, Nlink: 2}}
	return m
}

// on sets a hook; nil removes it.
func (m *memFS) on(what string, hook func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if hook == nil {
		delete(m.hooks, what)
		return
	}
	m.hooks[what] = hook
}

func (m *memFS) hook(ctx context.Context, op, name string) error {
	m.mu.Lock()
	h := m.hooks[op+":"+name]
	m.mu.Unlock()
	if h == nil {
		return nil
	}
	return h(ctx)
}

func (m *memFS) nameOf(ino vocab.Ino) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[ino]
}

func (m *memFS) node(ino vocab.Ino) (*memNode, error) {
	n := m.nodes[ino]
	if n == nil {
		return nil, vocab.NotFound
	}
	return n, nil
}

func (m *memFS) Root() vocab.Attr { a, _ := m.GetAttr(context.Background(), memRoot); return a }

func (m *memFS) find(parent vocab.Ino, name string) (dir, n *memNode, err error) {
	if dir, err = m.node(parent); err != nil {
		return nil, nil, err
	}
	e, ok := dir.entries[name]
	if !ok {
		return dir, nil, vocab.NotFound
	}
	n, err = m.node(e.ino)
	return dir, n, err
}

func (m *memFS) Lookup(ctx context.Context, _ Caller, parent vocab.Ino, name string) (vocab.Attr, error) {
	if err := m.hook(ctx, "lookup", name); err != nil {
		return vocab.Attr{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, err := m.find(parent, name)
	if name == ".." && dir != nil {
		n, err = m.node(dir.parent)
	}
	if err != nil {
		return vocab.Attr{}, err
	}
	return n.attr, nil
}

func (m *memFS) GetAttr(_ context.Context, ino vocab.Ino) (vocab.Attr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return vocab.Attr{}, err
	}
	return n.attr, nil
}

func now() vocab.Time { return vocab.Time(time.Now().UnixNano()) }

func (n *memNode) resize(size uint64) {
	data := make([]byte, size)
	copy(data, n.data)
	n.data, n.attr.Size = data, size
	n.attr.Mtime, n.attr.Ctime = now(), now()
}

func (m *memFS) SetAttr(_ context.Context, _ Caller, ino vocab.Ino, ch Change) (vocab.Attr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return vocab.Attr{}, err
	}
	a := &n.attr
	a.Ctime = now()
	if ch.Mask&wire.SetMode != 0 {
		a.Mode = a.Mode&vocab.ModeType | ch.Mode
	}
	if ch.Mask&wire.SetUID != 0 {
		a.UID = ch.UID
	}
	if ch.Mask&wire.SetGID != 0 {
		a.GID = ch.GID
	}
	if ch.Mask&wire.SetSize != 0 {
		n.resize(ch.Size)
	}
	if ch.Mask&wire.SetNoPrivilege != 0 {
		a.Mode &^= vocab.ModeSetUID | vocab.ModeSetGID
	}
	if ch.Mask&wire.SetAtime != 0 {
		a.Atime = ch.Atime
	}
	if ch.Mask&wire.SetMtime != 0 {
		a.Mtime = ch.Mtime
	}
	if ch.Mask&wire.SetAtimeNow != 0 {
		a.Atime = now()
	}
	if ch.Mask&wire.SetMtimeNow != 0 {
		a.Mtime = now()
	}
	return *a, nil
}

// add makes a node; the lock is held.
func (m *memFS) add(who Caller, parent vocab.Ino, name string, mode, rdev uint32) (*memNode, error) {
	dir, n, err := m.find(parent, name)
	if dir == nil {
		return nil, err
	}
	if n != nil {
		return nil, vocab.Exists
	}
	m.lastIno++
	n = &memNode{parent: parent, attr: vocab.Attr{
		Ino: m.lastIno, Generation: 3, Mode: mode &^ who.Umask, Nlink: 1, UID: who.UID, GID: who.GID, Rdev: rdev,
		Atime: now(), Mtime: now(), Ctime: now(),
	}}
	if n.attr.IsDir() {
		n.entries, n.attr.Nlink = map[string]memEntry{}, 2
		dir.attr.Nlink++
	}
	m.nodes[n.attr.Ino] = n
	m.enter(dir, name, n.attr.Ino)
	return n, nil
}

func (m *memFS) enter(dir *memNode, name string, ino vocab.Ino) {
	m.cookie++
	dir.entries[name] = memEntry{ino, m.cookie}
	m.names[ino] = name
	dir.attr.Mtime, dir.attr.Ctime = now(), now()
}

func (m *memFS) Mknod(_ context.Context, who Caller, parent vocab.Ino, name string, mode, rdev uint32) (vocab.Attr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.add(who, parent, name, mode, rdev)
	if err != nil {
		return vocab.Attr{}, err
	}
	return n.attr, nil
}

func (m *memFS) Symlink(_ context.Context, who Caller, parent vocab.Ino, name, target string) (vocab.Attr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.add(who, parent, name, vocab.ModeSymlink|0o777, 0)
	if err != nil {
		return vocab.Attr{}, err
	}
	n.target, n.attr.Size = target, uint64(len(target))
	return n.attr, nil
}

func (m *memFS) Readlink(_ context.Context, ino vocab.Ino) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

func (m *memFS) Link(_ context.Context, _ Caller, ino, parent vocab.Ino, name string) (vocab.Attr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return vocab.Attr{}, err
	}
	dir, there, _ := m.find(parent, name)
	if there != nil {
		return vocab.Attr{}, vocab.Exists
	}
	n.attr.Nlink++
	m.enter(dir, name, ino)
	return n.attr, nil
}

// drop takes one name from a node; the lock is held.
func (m *memFS) drop(dir, n *memNode, name string) {
	delete(dir.entries, name)
	n.attr.Nlink--
	n.attr.Ctime = now()
	if n.attr.IsDir() {
		dir.attr.Nlink--
		delete(m.nodes, n.attr.Ino)
	} else if n.attr.Nlink == 0 && m.opens == 0 {
		delete(m.nodes, n.attr.Ino)
	}
}

func (m *memFS) Unlink(ctx context.Context, _ Caller, parent vocab.Ino, name string) error {
	if err := m.hook(ctx, "unlink", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, err := m.find(parent, name)
	switch {
	case err != nil:
		return err
	case n.attr.IsDir():
		return vocab.IsDir
	}
	m.drop(dir, n, name)
	return nil
}

func (m *memFS) Rmdir(_ context.Context, _ Caller, parent vocab.Ino, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, err := m.find(parent, name)
	switch {
	case err != nil:
		return err
	case !n.attr.IsDir():
		return vocab.NotDir
	case len(n.entries) > 0:
		return vocab.NotEmpty
	}
	m.drop(dir, n, name)
	return nil
}

func (m *memFS) Rename(_ context.Context, _ Caller, parent vocab.Ino, name string, newParent vocab.Ino, newName string, flags wire.RenameFlags) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, n, err := m.find(parent, name)
	if err != nil {
		return err
	}
	to, there, _ := m.find(newParent, newName)
	switch {
	case flags == wire.RenameNoReplace && there != nil:
		return vocab.Exists
	case flags == wire.RenameExchange && there == nil:
		return vocab.NotFound
	case flags == wire.RenameExchange:
		m.enter(from, name, there.attr.Ino)
		m.enter(to, newName, n.attr.Ino)
		there.parent, n.parent = parent, newParent
		return nil
	case there != nil:
		m.drop(to, there, newName)
	}
	delete(from.entries, name)
	m.enter(to, newName, n.attr.Ino)
	n.parent = newParent
	return nil
}

func (m *memFS) ReadDir(_ context.Context, ino vocab.Ino, cookie uint64, limit int, plus bool) (wire.ReaddirReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listed++
	dir, err := m.node(ino)
	if err != nil {
		return wire.ReaddirReply{}, err
	}
	reply := wire.ReaddirReply{Parent: dir.parent, Last: true}
	names := slices.SortedFunc(maps.Keys(dir.entries), func(a, b string) int {
		return cmp.Compare(dir.entries[a].cookie, dir.entries[b].cookie)
	})
	for _, name := range names {
		e := dir.entries[name]
		if e.cookie <= cookie {
			continue
		}
		if len(reply.Entries) == limit {
			reply.Last = false
			break
		}
		attr := m.nodes[e.ino].attr
		if !plus {
			attr = vocab.Attr{Ino: attr.Ino, Mode: attr.Mode & vocab.ModeType}
		}
		reply.Entries = append(reply.Entries, wire.Entry{Name: name, Cookie: e.cookie, Attr: attr})
	}
	return reply, nil
}

func (m *memFS) StatFS(context.Context) (wire.StatFSReply, error) {
	return wire.StatFSReply{TotalBytes: 1 << 40, FreeBytes: 1 << 39, Files: 12, BlockBytes: 8192}, nil
}

func (m *memFS) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *memFS) CreateUnnamed(ctx context.Context, who Caller, parent vocab.Ino, mode uint32, flags int) (Handle, vocab.Attr, error) {
	const name = "\x00unnamed"
	h, _, err := m.CreateFile(ctx, who, parent, name, mode, flags|syscall.O_EXCL)
	if err != nil {
		return nil, vocab.Attr{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, n, _ := m.find(parent, name)
	m.drop(dir, n, name)
	return h, n.attr, nil
}

type memHandle struct {
	m     *memFS
	n     *memNode
	flags int
}

func (m *memFS) open(n *memNode, flags int) Handle {
	m.opens++
	if flags&syscall.O_TRUNC != 0 {
		n.resize(0)
	}
	return &memHandle{m, n, flags}
}

func (m *memFS) OpenFile(ctx context.Context, _ Caller, ino vocab.Ino, flags int) (Handle, error) {
	if err := m.hook(ctx, "open", m.nameOf(ino)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return nil, err
	}
	return m.open(n, flags), nil
}

func (m *memFS) CreateFile(ctx context.Context, who Caller, parent vocab.Ino, name string, mode uint32, flags int) (Handle, vocab.Attr, error) {
	if err := m.hook(ctx, "create", name); err != nil {
		return nil, vocab.Attr{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.add(who, parent, name, vocab.ModeRegular|mode, 0)
	if err != nil && flags&syscall.O_EXCL != 0 {
		return nil, vocab.Attr{}, err
	}
	if err != nil {
		_, n, _ = m.find(parent, name)
	}
	return m.open(n, flags), n.attr, nil
}

func (h *memHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.m.hook(ctx, "read", h.m.nameOf(h.n.attr.Ino)); err != nil {
		return 0, err
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if off >= int64(len(h.n.data)) {
		return 0, nil
	}
	return copy(p, h.n.data[off:]), nil
}

func (h *memHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.m.hook(ctx, "write", h.m.nameOf(h.n.attr.Ino)); err != nil {
		return 0, err
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.flags&syscall.O_APPEND != 0 {
		off = int64(len(h.n.data))
	}
	if end := uint64(off) + uint64(len(p)); end > h.n.attr.Size {
		h.n.resize(end)
	}
	h.n.attr.Mtime = now()
	return copy(h.n.data[off:], p), nil
}

// change is a range of bytes that becomes zeros, as far as the file goes, if it is to be
// cleared, and the file as long if it is to grow.
func (h *memHandle) change(ctx context.Context, call string, off, n int64, zeros, grow bool) error {
	if err := h.m.hook(ctx, call, h.m.nameOf(h.n.attr.Ino)); err != nil {
		return err
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if end := uint64(off + n); grow && end > h.n.attr.Size {
		h.n.resize(end)
	}
	if size := int64(len(h.n.data)); zeros && off < size {
		clear(h.n.data[off:min(off+n, size)])
	}
	return nil
}

func (h *memHandle) Punch(ctx context.Context, off, n int64) error {
	return h.change(ctx, "punch", off, n, true, false)
}

func (h *memHandle) Zero(ctx context.Context, off, n int64, keepSize bool) error {
	return h.change(ctx, "zero", off, n, true, !keepSize)
}

func (h *memHandle) Allocate(ctx context.Context, off, n int64) error {
	return h.change(ctx, "allocate", off, n, false, true)
}

// seek knows blocks of four bytes.
func (h *memHandle) seek(off int64, data bool) (int64, bool, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	size := int64(len(h.n.data))
	for at := off; at < size; at = at/4*4 + 4 {
		block := h.n.data[at/4*4 : min(at/4*4+4, size)]
		if (strings.Trim(string(block), "\x00") != "") == data {
			return at, true, nil
		}
	}
	return size, !data && off < size, nil
}

func (h *memHandle) SeekData(_ context.Context, off int64) (int64, bool, error) {
	return h.seek(off, true)
}

func (h *memHandle) SeekHole(_ context.Context, off int64) (int64, bool, error) {
	return h.seek(off, false)
}

func (h *memHandle) Flush(ctx context.Context) error {
	return h.m.hook(ctx, "flush", h.m.nameOf(h.n.attr.Ino))
}

func (h *memHandle) Sync(ctx context.Context) error {
	return h.m.hook(ctx, "sync", h.m.nameOf(h.n.attr.Ino))
}

// Lock notes what it is asked for, and gives all. Most tests leave locks to the kernel.
func (h *memHandle) Lock(ctx context.Context, l wire.Lock, wait bool) error {
	h.m.mu.Lock()
	h.m.locks = append(h.m.locks, memLock{l, wait})
	h.m.mu.Unlock()
	return h.m.hook(ctx, "lock", h.m.nameOf(h.n.attr.Ino))
}

// TestLock finds the last lock that was set.
func (h *memHandle) TestLock(context.Context, wire.Lock) (l wire.Lock, _ error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if n := len(h.m.locks); n > 0 {
		l = h.m.locks[n-1].Lock
	}
	return l, nil
}

func (h *memHandle) ReleaseLocks(_ context.Context, owner uint64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.released = append(h.m.released, owner)
	return nil
}

func (h *memHandle) Close(context.Context) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.m.opens--
	return nil
}

func (h *memHandle) Mode() uint32 {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.n.attr.Mode
}

func (h *memHandle) KeepCache() bool {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.keep
}

// put makes or replaces a file as another machine would.
func (m *memFS) put(name, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, err := m.find(memRoot, name)
	if err != nil {
		n, _ = m.add(Caller{}, memRoot, name, vocab.ModeRegular|0o644, 0)
	}
	n.data = []byte(content)
	n.resize(uint64(len(content)))
}

func (m *memFS) content(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, n, err := m.find(memRoot, name)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(n.data)
}

func (m *memFS) counts() (opens, listed int, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opens, m.listed, m.closed
}
