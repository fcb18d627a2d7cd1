package exportd

import (
	"fmt"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// Stored values are coded like messages, after one byte that numbers the form
// of the record. Later forms append fields or raise the number.
const recordForm = 1

func codeForm(c *wire.Codec) {
	form := uint8(recordForm)
	wire.U8(c, &form)
	if c.Decoding() && form != recordForm {
		c.Fail("stored record of form %d, this program knows form %d", form, recordForm)
	}
}

func encode(m wire.Message) []byte { return wire.Marshal(nil, m) }

// decode names the key in its error: a record that does not decode is corrupt.
func decode(key, value []byte, m wire.Message) error {
	if err := wire.Unmarshal(value, m); err != nil {
		return vocab.Errorf(vocab.Corrupt, "metadata record %x: %v", key, err)
	}
	return nil
}

// identity is written once, when the metadata directory is made.
type identity struct {
	format      uint32
	cluster     vocab.ClusterID
	incarnation uint32
	group       uint16
}

func (r *identity) Code(c *wire.Codec) {
	wire.U32(c, &r.format)
	c.Fixed(r.cluster[:])
	wire.U32(c, &r.incarnation)
	wire.U16(c, &r.group)
}

// counters are the state that every command may change.
type counters struct {
	applied  uint64 // commands applied
	ino      uint64 // last inode number handed out
	epoch    uint64 // last epoch counter handed out
	session  uint64
	deletion uint64
}

func (r *counters) Code(c *wire.Codec) {
	codeForm(c)
	wire.U64(c, &r.applied)
	wire.U64(c, &r.ino)
	wire.U64(c, &r.epoch)
	wire.U64(c, &r.session)
	wire.U64(c, &r.deletion)
}

// exportRecord is an export's root and use.
type exportRecord struct {
	root  vocab.Ino
	vid   vocab.VID
	files uint64 // inodes, without the root
	bytes uint64 // sum of the sizes of regular files
}

func (r *exportRecord) Code(c *wire.Codec) {
	codeForm(c)
	wire.U64(c, &r.root)
	wire.U16(c, &r.vid)
	wire.U64(c, &r.files)
	wire.U64(c, &r.bytes)
}

// inode is immutable once it is in the cache; a command edits a copy.
type inode struct {
	attr      vocab.Attr
	parent    vocab.Ino       // of a directory; its own number for the root
	entries   uint32          // of a directory
	target    string          // of a symbolic link
	placement vocab.Placement // of a regular file
	joined    uint32          // of one, the last generation under which a storage was to join it; 0: none
	nameable  bool            // of one, it was made without a name and may be given one

	index uint64 // command that wrote it, in this run of the program; not stored
}

func (r *inode) Code(c *wire.Codec) {
	codeForm(c)
	wire.CodeAttr(c, &r.attr)
	switch r.attr.Mode & vocab.ModeType {
	case vocab.ModeDir:
		wire.U64(c, &r.parent)
		wire.U32(c, &r.entries)
	case vocab.ModeSymlink:
		c.String(&r.target, vocab.MaxSymlinkBytes)
	case vocab.ModeRegular:
		wire.CodePlacement(c, &r.placement)
		if c.More() {
			wire.U32(c, &r.joined)
		}
		if c.More() {
			c.Bool(&r.nameable)
		}
	}
}

// slot is one directory entry. An empty name is a tombstone: it keeps the slots
// after it reachable.
type slot struct {
	name string
	ino  vocab.Ino
	mode uint32 // type bits
}

func (r *slot) Code(c *wire.Codec) {
	codeForm(c)
	c.String(&r.name, vocab.MaxNameBytes)
	wire.U64(c, &r.ino)
	wire.U32(c, &r.mode)
}

// sessionRecord outlives restarts. fence is not 0 when the session has ended
// without closing and waits for the storages to refuse its epochs below fence.
type sessionRecord struct {
	secret uint64
	eid    vocab.EID
	name   string
	fence  vocab.Epoch
}

func (r *sessionRecord) Code(c *wire.Codec) {
	codeForm(c)
	wire.U64(c, &r.secret)
	wire.U16(c, &r.eid)
	c.String(&r.name, 255)
	wire.U64(c, &r.fence)
}

// leaseRecord is a write lease, or the last holder of one that ended uncleanly.
type leaseRecord struct {
	session vocab.SessionID
	epoch   vocab.Epoch
}

func (r *leaseRecord) Code(c *wire.Codec) {
	codeForm(c)
	wire.U64(c, &r.session)
	wire.U64(c, &r.epoch)
}

// storageRecord is what is known of a storage.
type storageRecord struct {
	incarnation vocab.Incarnation // of its root, as first seen or when it was last rebuilt
	draining    bool              // it gets no files
}

func (r *storageRecord) Code(c *wire.Codec) {
	codeForm(c)
	wire.U64(c, &r.incarnation)
	if c.More() {
		c.Bool(&r.draining)
	}
}

// deletionRecord is a file that a storage is to delete; generation is not 0 when the file
// lives on elsewhere under it.
type deletionRecord struct {
	fid        vocab.FID
	generation uint32
}

func (r *deletionRecord) Code(c *wire.Codec) {
	c.Fixed(r.fid[:])
	if c.More() {
		wire.U32(c, &r.generation)
	}
}

// taskRecord is a task as it is stored, one for each kind and storage.
type taskRecord struct {
	wire.Task
	eid   vocab.EID // files up to this one are done
	ino   vocab.Ino
	bound vocab.Ino // the last inode when it began
}

func (r *taskRecord) Code(c *wire.Codec) {
	codeForm(c)
	r.Task.Code(c)
	wire.U16(c, &r.eid)
	wire.U64(c, &r.ino)
	wire.U64(c, &r.bound)
}

// outcome is a reply, as it was sent, kept for a repeated request.
type outcome struct {
	op    wire.Op
	reply []byte
}

func (r *outcome) Code(c *wire.Codec) {
	codeForm(c)
	wire.U16(c, &r.op)
	c.Bytes(&r.reply, wire.MaxBody)
}

// encoded is a reply that is encoded already.
type encoded []byte

func (e encoded) Code(c *wire.Codec) { c.Fixed(e) }

func (o outcome) answer(op wire.Op) (wire.Message, error) {
	if o.op != op {
		return nil, vocab.Errorf(vocab.Protocol, "the request number belonged to %v, not %v", o.op, op)
	}
	return encoded(o.reply), nil
}

func (r *identity) check(want vocab.ClusterID) error {
	if r.format == 0 || r.format > formatVersion {
		return fmt.Errorf("metadata is of format %d, this program knows up to %d: upgrade exportd", r.format, formatVersion)
	}
	if want != (vocab.ClusterID{}) && want != r.cluster {
		return fmt.Errorf("metadata belongs to cluster %v, the configuration says %v: name the right directory, or the right cluster", r.cluster, want)
	}
	return nil
}
