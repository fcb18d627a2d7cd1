package rozofs

import (
	"context"
	"errors"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// found is where a name leads.
type found struct {
	parent vocab.Ino // the directory that has the name
	name   string    // the last name, "" if it is "." or ".." or the root
	attr   vocab.Attr
	there  bool // there is a file of the name: attr is valid
	mustBe bool // a trailing slash demands a directory
}

func (p *found) mustExist() error {
	if !p.there {
		return vocab.Errorf(vocab.NotFound, "%q", p.name)
	}
	if p.mustBe && !p.attr.IsDir() {
		return vocab.Errorf(vocab.NotDir, "%q", p.name)
	}
	return nil
}

// mustHaveName refuses ".", ".." and the root where an entry is to be changed.
func (p *found) mustHaveName() error {
	if p.name == "" {
		return vocab.Errorf(vocab.Invalid, `the name ends in ".", ".." or is the root: name the entry itself`)
	}
	return nil
}

// trimSlashes removes trailing slashes, but for the root's.
func trimSlashes(name string) string {
	if trimmed := strings.TrimRight(name, "/"); trimmed != "" || name == "" {
		return trimmed
	}
	return "/"
}

// walk goes from the root along a path. Only one goroutine uses it.
type walk struct {
	t      *Tree
	ctx    context.Context
	rest   string       // what is still to be gone
	own    int          // that many bytes at the end of rest are the caller's; the others come from links
	follow bool         // a symbolic link at the end too
	above  []vocab.Attr // the directories gone through, the root first
	links  int          // symbolic links followed

	// missing, if not nil, makes a directory that is not there.
	missing func(parent vocab.Ino, name string) (vocab.Attr, error)
}

// resolve finds out where a name leads. That the last part is not there is no
// error.
func (t *Tree) resolve(ctx context.Context, name string, follow bool) (*found, error) {
	return t.newWalk(ctx, name, follow).run()
}

func (t *Tree) newWalk(ctx context.Context, name string, follow bool) *walk {
	return &walk{t: t, ctx: ctx, rest: name, own: len(name), follow: follow, above: []vocab.Attr{t.c.Root()}}
}

func (w *walk) run() (*found, error) {
	switch {
	case w.rest == "":
		return nil, vocab.Errorf(vocab.NotFound, "the empty name")
	case len(w.rest) > wire.MaxPath:
		return nil, vocab.Errorf(vocab.NameTooLong, "a path of %d bytes, at most %d", len(w.rest), wire.MaxPath)
	}
	for {
		linked := len(w.rest) > w.own
		name, last, slash := w.next()
		switch name {
		case "", ".":
		case "..":
			w.above = w.above[:max(1, len(w.above)-1)]
		default:
			p, err := w.step(name, last, slash, linked)
			if p != nil || err != nil {
				return p, err
			}
			continue
		}
		if last {
			return w.here()
		}
	}
}

// next takes the next name off rest. last tells that nothing comes after it,
// slash that slashes do.
func (w *walk) next() (name string, last, slash bool) {
	rest := strings.TrimLeft(w.rest, "/")
	name, rest, slash = strings.Cut(rest, "/")
	last = strings.Trim(rest, "/") == ""
	w.rest = rest
	w.own = min(w.own, len(rest))
	return name, last, slash
}

// top is the directory that the walk is in.
func (w *walk) top() vocab.Ino { return w.above[len(w.above)-1].Ino }

// here ends a walk in a directory gone through.
func (w *walk) here() (*found, error) {
	a, err := w.t.c.GetAttr(w.ctx, w.top())
	if err != nil {
		return nil, err
	}
	return &found{attr: a, there: true}, nil
}

// step goes to a name in the top directory; it returns where the walk ends, or
// nil to go on.
func (w *walk) step(name string, last, slash, linked bool) (*found, error) {
	parent := w.top()
	a, err := w.t.c.Lookup(w.ctx, w.t.who, parent, name)
	if errors.Is(err, vocab.NotFound) && w.missing != nil {
		if linked {
			return nil, vocab.Errorf(vocab.Exists, "a symbolic link leads to %q, which is not there", name)
		}
		a, err = w.missing(parent, name)
	}
	if errors.Is(err, vocab.NotFound) && last {
		return &found{parent: parent, name: name, mustBe: slash}, nil
	}
	if err != nil {
		return nil, err
	}
	if a.Mode&vocab.ModeType == vocab.ModeSymlink && (!last || w.follow) {
		return nil, w.followLink(a, last, slash)
	}
	if last {
		return &found{parent: parent, name: name, attr: a, there: true, mustBe: slash}, nil
	}
	if !a.IsDir() {
		return nil, vocab.Errorf(vocab.NotDir, "%q", name)
	}
	w.above = append(w.above, a)
	return nil, nil
}

// followLink puts a link's target before the rest of the way.
func (w *walk) followLink(link vocab.Attr, last, slash bool) error {
	if w.links++; w.links > maxSymlinks {
		return vocab.Errorf(vocab.Invalid, "more than %d symbolic links: they lead in a circle", maxSymlinks)
	}
	target, err := w.t.c.Readlink(w.ctx, link.Ino)
	if err != nil {
		return err
	}
	if strings.HasPrefix(target, "/") {
		w.above = w.above[:1]
	}
	if !last || slash {
		target += "/"
	}
	w.rest = target + w.rest
	return nil
}
