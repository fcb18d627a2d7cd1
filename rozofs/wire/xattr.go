package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// XattrRequest names an extended attribute of a file: OpGetXattr, OpRemoveXattr. NoData if
// the file has none of the name.
type XattrRequest struct {
	Head
	Ino  vocab.Ino
	Name string
}

// Code implements Message.
func (m *XattrRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	c.String(&m.Name, MaxPath)
}

// XattrReply: OpGetXattr.
type XattrReply struct {
	Value []byte
}

// Code implements Message.
func (m *XattrReply) Code(c *Codec) { c.Bytes(&m.Value, vocab.MaxXattrBytes) }

// XattrNamesReply: OpListXattr, whose request is an InoRequest.
type XattrNamesReply struct {
	Names []string
}

// Code implements Message.
func (m *XattrNamesReply) Code(c *Codec) {
	Slice(c, &m.Names, vocab.MaxXattrsBytes, 4, func(c *Codec, name *string) { c.String(name, vocab.MaxXattrNameBytes) })
}

// XattrFlags are those of setxattr, and one for ACLs.
type XattrFlags uint32

// The flags that are offered; not the first two at once.
const (
	XattrCreate        XattrFlags = 1 // Exists if the file has it
	XattrReplace       XattrFlags = 2 // NoData if the file does not have it
	XattrDropsSetGroup XattrFlags = 4 // an access ACL clears set-group-id: the caller is not in the group
)

// SetXattrRequest sets an extended attribute: OpSetXattr. An access ACL sets the permission
// bits too. AttrReply.
type SetXattrRequest struct {
	Head
	Ino   vocab.Ino
	Name  string
	Flags XattrFlags
	Value []byte
}

// Code implements Message.
func (m *SetXattrRequest) Code(c *Codec) {
	m.Head.code(c)
	U64(c, &m.Ino)
	c.String(&m.Name, MaxPath)
	U32(c, &m.Flags)
	c.Bytes(&m.Value, 2*vocab.MaxXattrBytes) // so that one that is too large gets an error
}
