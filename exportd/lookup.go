package exportd

import (
	"context"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// checkName refuses what cannot be a name. "." and ".." are for the caller.
func checkName(name string) error {
	switch {
	case name == "":
		return vocab.Errorf(vocab.NotFound, "the empty name")
	case len(name) > vocab.MaxNameBytes:
		return vocab.Errorf(vocab.NameTooLong, "%d bytes, at most %d", len(name), vocab.MaxNameBytes)
	case strings.ContainsAny(name, "/\x00"):
		return vocab.Errorf(vocab.Invalid, "name %q holds a slash or a zero byte", name)
	}
	return nil
}

func isDot(name string) bool { return name == "." || name == ".." }

func (s *Server) lookup(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.NameRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) {
		if m.Name == "." { // of any file: so the kernel asks for one that it has a handle of
			return t.attrOf(m.Parent)
		}
		dir, err := t.directory(m.Parent)
		if err != nil {
			return nil, err
		}
		if m.Name == ".." {
			return t.attrOf(dir.parent)
		}
		e, ok, err := t.find(m.Parent, m.Name)
		if err != nil {
			return nil, err
		}
		if !ok {
			t.saw(dir.index)
			return nil, errNoName(m.Name)
		}
		return t.attrOf(e.ino)
	})
}

func errNoName(name string) error { return vocab.Errorf(vocab.NotFound, "%q", name) }

// attrOf answers with the attributes of a file, as they are when nobody else
// may be changing them.
func (t *tx) attrOf(ino vocab.Ino) (wire.Message, error) {
	n, err := t.inode(ino)
	if err != nil {
		return nil, err
	}
	return t.attrReply(n)
}

func (t *tx) attrReply(n *inode) (wire.Message, error) {
	if err := t.protect(n, wire.LeaseRead); err != nil {
		return nil, err
	}
	return &wire.AttrReply{Attr: n.attr}, nil
}

func (s *Server) getAttr(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.InoRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) { return t.attrOf(m.Ino) })
}

func (s *Server) readlink(ctx context.Context, r *wire.Request) (wire.Message, error) {
	var m wire.InoRequest
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	return s.call(ctx, r, &m.Head, reads, func(t *tx) (wire.Message, error) {
		n, err := t.inode(m.Ino)
		if err != nil {
			return nil, err
		}
		if n.attr.Mode&vocab.ModeType != vocab.ModeSymlink {
			return nil, vocab.Errorf(vocab.Invalid, "inode %d is not a symbolic link", uint64(m.Ino))
		}
		return &wire.ReadlinkReply{Target: n.target}, nil
	})
}
