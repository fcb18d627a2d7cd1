package rozofsmount

import (
	"context"
	"os"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// connectClient makes the client of package rozofs.
func connectClient(ctx context.Context, o *Options, invalidate func(vocab.Ino)) (FileSystem, error) {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown host"
	}
	c, err := rozofs.Mount(ctx, rozofs.Config{
		Hosts:            o.Hosts,
		Export:           o.Export,
		Name:             name + ":" + o.Mountpoint,
		ExportTimeout:    o.ExportTimeout,
		StorageTimeout:   o.StorageTimeout,
		WriteBufferBytes: o.WriteBufferBytes,
		Invalidate:       invalidate,
		Log:              o.Log,
	})
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// client is a *rozofs.Client as a FileSystem. Only what has types of package
// rozofs in its signature needs a word.
type client struct{ *rozofs.Client }

var (
	_ FileSystem = client{}
	_ Handle     = (*rozofs.Handle)(nil)
)

func (c client) Lookup(ctx context.Context, who Caller, parent vocab.Ino, name string) (vocab.Attr, error) {
	return c.Client.Lookup(ctx, rozofs.Caller(who), parent, name)
}

func (c client) SetAttr(ctx context.Context, who Caller, ino vocab.Ino, ch Change) (vocab.Attr, error) {
	return c.Client.SetAttr(ctx, rozofs.Caller(who), ino, rozofs.Change(ch))
}

func (c client) Mknod(ctx context.Context, who Caller, parent vocab.Ino, name string, mode, rdev uint32) (vocab.Attr, error) {
	return c.Client.Mknod(ctx, rozofs.Caller(who), parent, name, mode, rdev)
}

func (c client) Symlink(ctx context.Context, who Caller, parent vocab.Ino, name, target string) (vocab.Attr, error) {
	return c.Client.Symlink(ctx, rozofs.Caller(who), parent, name, target)
}

func (c client) Link(ctx context.Context, who Caller, ino, parent vocab.Ino, name string) (vocab.Attr, error) {
	return c.Client.Link(ctx, rozofs.Caller(who), ino, parent, name)
}

func (c client) Unlink(ctx context.Context, who Caller, parent vocab.Ino, name string) error {
	return c.Client.Unlink(ctx, rozofs.Caller(who), parent, name)
}

func (c client) Rmdir(ctx context.Context, who Caller, parent vocab.Ino, name string) error {
	return c.Client.Rmdir(ctx, rozofs.Caller(who), parent, name)
}

func (c client) Rename(ctx context.Context, who Caller, parent vocab.Ino, name string, newParent vocab.Ino, newName string, flags wire.RenameFlags) error {
	return c.Client.Rename(ctx, rozofs.Caller(who), parent, name, newParent, newName, flags)
}

func (c client) OpenFile(ctx context.Context, who Caller, ino vocab.Ino, flags int) (Handle, error) {
	h, err := c.Client.OpenFile(ctx, rozofs.Caller(who), ino, flags)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (c client) CreateFile(ctx context.Context, who Caller, parent vocab.Ino, name string, mode uint32, flags int) (Handle, vocab.Attr, error) {
	h, attr, err := c.Client.CreateFile(ctx, rozofs.Caller(who), parent, name, mode, flags)
	if err != nil {
		return nil, attr, err
	}
	return h, attr, nil
}

func (c client) CreateUnnamed(ctx context.Context, who Caller, parent vocab.Ino, mode uint32, flags int) (Handle, vocab.Attr, error) {
	h, attr, err := c.Client.CreateUnnamed(ctx, rozofs.Caller(who), parent, mode, flags)
	if err != nil {
		return nil, attr, err
	}
	return h, attr, nil
}

func (c client) SetXattr(ctx context.Context, who Caller, ino vocab.Ino, name string, value []byte, flags wire.XattrFlags) error {
	return c.Client.SetXattr(ctx, rozofs.Caller(who), ino, name, value, flags)
}

func (c client) RemoveXattr(ctx context.Context, who Caller, ino vocab.Ino, name string) error {
	return c.Client.RemoveXattr(ctx, rozofs.Caller(who), ino, name)
}
