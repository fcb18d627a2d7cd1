package rozofsmount

import (
	"context"
	"maps"
	"slices"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func (m *memFS) GetXattr(_ context.Context, ino vocab.Ino, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.xattrs++
	n, err := m.node(ino)
	if err != nil {
		return nil, err
	}
	value, ok := n.xattrs[name]
	if !ok {
		return nil, vocab.NoData
	}
	return []byte(value), nil
}

func (m *memFS) ListXattr(_ context.Context, ino vocab.Ino) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.xattrs)), nil
}

func (m *memFS) SetXattr(_ context.Context, _ Caller, ino vocab.Ino, name string, value []byte, flags wire.XattrFlags) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return err
	}
	_, there := n.xattrs[name]
	switch {
	case there && flags&wire.XattrCreate != 0:
		return vocab.Exists
	case !there && flags&wire.XattrReplace != 0:
		return vocab.NoData
	case flags&wire.XattrDropsSetGroup != 0:
		n.attr.Mode &^= vocab.ModeSetGID
	}
	if n.xattrs == nil {
		n.xattrs = map[string]string{}
	}
	n.xattrs[name] = string(value)
	n.attr.Mode |= vocab.ModeXattr
	if name == vocab.XattrCapability {
		n.attr.Mode |= vocab.ModeCapability
	}
	return nil
}

func (m *memFS) RemoveXattr(_ context.Context, _ Caller, ino vocab.Ino, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node(ino)
	if err != nil {
		return err
	}
	if _, there := n.xattrs[name]; !there {
		return vocab.NoData
	}
	delete(n.xattrs, name)
	if len(n.xattrs) == 0 {
		n.attr.Mode &^= vocab.ModeXattr
	}
	if name == vocab.XattrCapability {
		n.attr.Mode &^= vocab.ModeCapability
	}
	return nil
}

func (m *memFS) xattrsAsked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.xattrs
}
