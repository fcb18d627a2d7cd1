package exportd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// node is a file of the model: what a directory tree means, without storage.
type node struct {
	ino    vocab.Ino
	dir    map[string]*node // nil unless a directory
	parent *node
	names  int
	xattrs map[string]string
}

func (n *node) isDir() bool { return n.dir != nil }

func (n *node) nlink() uint32 {
	if !n.isDir() {
		return uint32(n.names)
	}
	links := uint32(2)
	for _, c := range n.dir {
		if c.isDir() {
			links++
		}
	}
	return links
}

func (n *node) within(dir *node) bool {
	for ; ; n = n.parent {
		if n == dir {
			return true
		}
		if n.parent == n {
			return false
		}
	}
}

// modelRename is rename by the words of POSIX and renameat2.
func modelRename(p *node, name string, q *node, newName string, flags wire.RenameFlags) error {
	from, to := p.dir[name], q.dir[newName]
	switch {
	case from == nil, to == nil && flags == wire.RenameExchange:
		return vocab.NotFound
	case to != nil && flags == wire.RenameNoReplace:
		return vocab.Exists
	case from == to:
		return nil
	case from.isDir() && q.within(from), flags == wire.RenameExchange && to.isDir() && p.within(to):
		return vocab.Invalid
	}
	if flags == wire.RenameExchange {
		p.dir[name], q.dir[newName] = to, from
		from.parent, to.parent = q, p
		return nil
	}
	if to != nil {
		switch {
		case from.isDir() && !to.isDir():
			return vocab.NotDir
		case !from.isDir() && to.isDir():
			return vocab.IsDir
		case len(to.dir) > 0:
			return vocab.NotEmpty
		}
		to.names--
	}
	delete(p.dir, name)
	q.dir[newName] = from
	from.parent = q
	return nil
}

// modelRun drives a server and the model with the same random operations.
type modelRun struct {
	t    *testing.T
	c    *client
	rng  *rand.Rand
	root *node
	dirs []*node
}

func (r *modelRun) name() string { return fmt.Sprintf("n%d", r.rng.IntN(6)) }

func (r *modelRun) pick() *node {
	r.dirs = r.dirs[:0]
	var walk func(*node)
	walk = func(n *node) {
		r.dirs = append(r.dirs, n)
		names := make([]string, 0, len(n.dir))
		for name := range n.dir {
			names = append(names, name)
		}
		slices.Sort(names) // a seed must replay
		for _, name := range names {
			if c := n.dir[name]; c.isDir() {
				walk(c)
			}
		}
	}
	walk(r.root)
	return r.dirs[r.rng.IntN(len(r.dirs))]
}

func (r *modelRun) same(what string, want, got error) {
	r.t.Helper()
	if want == nil {
		require.NoError(r.t, got, what)
		return
	}
	require.ErrorIs(r.t, got, want, what)
}

func (r *modelRun) step() {
	p, name := r.pick(), r.name()
	there := p.dir[name]
	switch r.rng.IntN(9) {
	case 0, 1:
		a, err := r.c.mkdir(p.ino, name)
		r.made("mkdir", p, name, &node{ino: a.Ino, dir: map[string]*node{}, parent: p, names: 1}, err)
	case 2:
		a, err := r.c.mknod(p.ino, name, []uint32{vocab.ModeRegular, vocab.ModeFIFO}[r.rng.IntN(2)]|0o600)
		r.made("mknod", p, name, &node{ino: a.Ino, names: 1}, err)
	case 3:
		o, err := r.c.create(p.ino, name, wire.LeaseKind(r.rng.IntN(3)))
		switch {
		case there == nil:
			r.same("create", nil, err)
			p.dir[name] = &node{ino: o.Attr.Ino, names: 1}
		case there.isDir():
			r.same("create", vocab.IsDir, err)
		default:
			r.same("create", nil, err)
			require.Equal(r.t, there.ino, o.Attr.Ino)
		}
		if err == nil {
			require.NoError(r.t, r.c.closeAll(o.Attr.Ino, o.Lease))
		}
	case 4:
		r.link(p, name)
	case 8:
		if there != nil {
			r.xattr(there)
		}
	case 5:
		r.remove(p, name, there)
	default:
		q, newName := r.pick(), r.name()
		flags := []wire.RenameFlags{0, 0, wire.RenameNoReplace, wire.RenameExchange}[r.rng.IntN(4)]
		got := r.c.rename(p.ino, name, q.ino, newName, flags)
		r.same(fmt.Sprintf("rename %d/%s to %d/%s flags %d", p.ino, name, q.ino, newName, flags), modelRename(p, name, q, newName, flags), got)
	}
}

func (r *modelRun) made(what string, p *node, name string, n *node, err error) {
	r.t.Helper()
	if p.dir[name] != nil {
		r.same(what, vocab.Exists, err)
		return
	}
	r.same(what, nil, err)
	p.dir[name] = n
}

func (r *modelRun) link(p *node, name string) {
	q := r.pick()
	for _, n := range q.dir {
		var want error
		switch {
		case n.isDir():
			want = vocab.NotPermitted
		case p.dir[name] != nil:
			want = vocab.Exists
		}
		r.same("link", want, r.c.link(n.ino, p.ino, name))
		if want == nil {
			n.names++
			p.dir[name] = n
		}
		return
	}
}

// xattr sets an extended attribute, or takes one away.
func (r *modelRun) xattr(n *node) {
	name, value := "user."+r.name(), strings.Repeat("v", r.rng.IntN(100))
	_, there := n.xattrs[name]
	if r.rng.IntN(3) == 0 {
		_, err := r.c.removeXattr(n.ino, name)
		if !there {
			r.same("removexattr", vocab.NoData, err)
			return
		}
		r.same("removexattr", nil, err)
		delete(n.xattrs, name)
		return
	}
	_, err := r.c.setXattr(n.ino, name, []byte(value), 0)
	r.same("setxattr", nil, err)
	if n.xattrs == nil {
		n.xattrs = map[string]string{}
	}
	n.xattrs[name] = value
}

func (r *modelRun) remove(p *node, name string, there *node) {
	if r.rng.IntN(2) == 0 {
		var want error
		switch {
		case there == nil:
			want = vocab.NotFound
		case there.isDir():
			want = vocab.IsDir
		default:
			delete(p.dir, name)
			there.names--
		}
		r.same("unlink", want, r.c.unlink(p.ino, name))
		return
	}
	var want error
	switch {
	case there == nil:
		want = vocab.NotFound
	case !there.isDir():
		want = vocab.NotDir
	case len(there.dir) > 0:
		want = vocab.NotEmpty
	default:
		delete(p.dir, name)
	}
	r.same("rmdir", want, r.c.rmdir(p.ino, name))
}

// compare walks the server's tree beside the model's.
func (r *modelRun) compare(n *node) {
	r.t.Helper()
	entries := r.c.list(n.ino, 3, true)
	require.Len(r.t, entries, len(n.dir))
	for _, e := range entries {
		want := n.dir[e.Name]
		require.NotNil(r.t, want, e.Name)
		require.Equal(r.t, want.ino, e.Attr.Ino)
		require.Equal(r.t, want.nlink(), e.Attr.Nlink, "links of %s", e.Name)
		require.Equal(r.t, want.isDir(), e.Attr.IsDir())
		a, err := r.c.lookup(n.ino, e.Name)
		require.NoError(r.t, err)
		require.Equal(r.t, e.Attr, a)
		require.Equal(r.t, len(want.xattrs) > 0, a.Mode&vocab.ModeXattr != 0)
		require.ElementsMatch(r.t, slices.Collect(maps.Keys(want.xattrs)), r.c.xattrs(a.Ino))
		for name, value := range want.xattrs {
			got, err := r.c.xattr(a.Ino, name)
			require.NoError(r.t, err)
			require.Equal(r.t, value, got)
		}
		if want.isDir() {
			r.compare(want)
		}
	}
}

func TestNamespaceIsWhatTheModelSays(t *testing.T) {
	for _, x := range []struct {
		name    string
		hash    func(string) uint64
		inodes  int
		between func(*world)
	}{
		{"restarts", hashName, 0, (*world).restart},
		{"crashes", hashName, 0, (*world).crash},
		{"names that share hashes", func(n string) uint64 { return 1 + hashName(n)%3 }, 0, (*world).restart},
		{"a cache of two inodes", func(n string) uint64 { return 1 + hashName(n)%2 }, 4, (*world).crash},
	} {
		t.Run(x.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			w := newWorld(t, func(c *Config) { c.CacheInodes = x.inodes })
			w.hash, w.srv.hash = x.hash, x.hash
			c := w.client("one")
			root := &node{ino: c.root(), dir: map[string]*node{}}
			root.parent = root
			r := &modelRun{t: t, c: c, rng: rand.New(rand.NewPCG(seed, 1)), root: root}
			for range 4 {
				for range 120 {
					r.step()
				}
				x.between(w)
				require.NoError(t, c.resume())
				_, err := c.reclaim(true)
				require.NoError(t, err)
				r.compare(root)
				w.check()
			}
		})
	}
}
