package rozofs

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// GetXattr returns an extended attribute; NoData if the file has none of the name.
func (c *Client) GetXattr(ctx context.Context, ino vocab.Ino, name string) ([]byte, error) {
	if c.hasNoXattrs(ino) {
		return nil, vocab.Errorf(vocab.NoData, "%q", name)
	}
	req := wire.XattrRequest{Ino: ino, Name: name}
	var reply wire.XattrReply
	err := c.session.call(ctx, wire.OpGetXattr, &req, &reply)
	return reply.Value, err
}

// ListXattr returns the names of a file's extended attributes.
func (c *Client) ListXattr(ctx context.Context, ino vocab.Ino) ([]string, error) {
	if c.hasNoXattrs(ino) {
		return nil, nil
	}
	req := wire.InoRequest{Ino: ino}
	var reply wire.XattrNamesReply
	err := c.session.call(ctx, wire.OpListXattr, &req, &reply)
	return reply.Names, err
}

// hasNoXattrs tells what a lease makes certain.
func (c *Client) hasNoXattrs(ino vocab.Ino) bool {
	f, unrefer := c.referTo(ino)
	defer unrefer()
	if f == nil {
		return false
	}
	a, ok := f.leasedAttr(c.nameChanges.now())
	return ok && a.Mode&vocab.ModeXattr == 0
}

// SetXattr sets an extended attribute. An ACL of access sets the permission bits too.
func (c *Client) SetXattr(ctx context.Context, who Caller, ino vocab.Ino, name string, value []byte, flags wire.XattrFlags) error {
	return c.changeXattr(ctx, who, ino, wire.OpSetXattr, &wire.SetXattrRequest{Ino: ino, Name: name, Value: value, Flags: flags})
}

// RemoveXattr removes an extended attribute; NoData if the file has none of the name.
func (c *Client) RemoveXattr(ctx context.Context, who Caller, ino vocab.Ino, name string) error {
	return c.changeXattr(ctx, who, ino, wire.OpRemoveXattr, &wire.XattrRequest{Ino: ino, Name: name})
}

func (c *Client) changeXattr(ctx context.Context, who Caller, ino vocab.Ino, op wire.Op, req request) error {
	var reply wire.AttrReply
	round, given := c.nameChanges.now(), c.given.now()
	if err := c.session.change(ctx, who, op, req, &reply); err != nil {
		return err
	}
	c.overlayChange(reply.Attr, round, given)
	return nil
}
