package exportd

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// tx is one command, or one read, on the state. It lives under Server.mu. What
// a command changes is kept here until commit makes one batch of it, so that a
// command which fails leaves nothing behind.
type tx struct {
	s    *Server
	sess *session // nil for exportd's own commands
	exp  *export  // nil for commands that concern no export
	head *wire.Head
	wait *waiter // the request's place in queues, nil for exportd's own commands
	now  vocab.Time
	seen uint64 // newest command whose effects were read

	count  counters
	inodes map[vocab.Ino]*inode // edited; nil: removed
	chains map[chainKey]*chain  // edited
	puts   []pair
	drops  [][]byte
	spans  [][2][]byte // ranges to delete
	files  int64       // change of the export's use
	bytes  int64
	hooks  []func() // changes in memory that belong to the command
}

type pair struct{ key, value []byte }

// chainKey names the entries of a directory whose names share a hash.
type chainKey struct {
	parent vocab.Ino
	hash   uint64
}

// chain is those entries in order of their disambiguation. Immutable in the
// cache. The last slot is never a tombstone.
type chain struct {
	slots []slot
	index uint64
}

const (
	cookieBits = 16
	maxChain   = 1 << cookieBits
)

// hashName is the upper 47 of a cookie's 63 bits: the first six bytes of the
// name's SHA-256 without their lowest bit, and never 0, so that cookies are
// positive as signed numbers and stay clear of small ones.
func hashName(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	h := binary.BigEndian.Uint64(sum[:8]) >> 17
	return max(h, 1)
}

func (k chainKey) cookie(i int) uint64 { return k.hash<<cookieBits | uint64(i) }

func (t *tx) saw(index uint64) { t.seen = max(t.seen, index) }

// inode returns the inode for reading; Stale when it is gone.
func (t *tx) inode(ino vocab.Ino) (*inode, error) {
	if n, ok := t.inodes[ino]; ok {
		if n == nil {
			return nil, errGone(ino)
		}
		return n, nil
	}
	if t.exp == nil {
		return nil, errGone(ino)
	}
	id := inodeID{t.exp.EID, ino}
	if n, ok := t.s.inodeCache.get(id); ok {
		t.saw(n.index)
		return n, nil
	}
	n := new(inode)
	there, err := value(t.s.db, fileKey(prefixInode, t.exp.EID, ino), n)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errGone(ino)
	}
	t.s.inodeCache.put(id, n)
	return n, nil
}

func errGone(ino vocab.Ino) error {
	return vocab.Errorf(vocab.Stale, "inode %d is gone", uint64(ino))
}

// directory returns the inode if it is a directory.
func (t *tx) directory(ino vocab.Ino) (*inode, error) {
	n, err := t.inode(ino)
	if err == nil && !n.attr.IsDir() {
		return nil, vocab.Errorf(vocab.NotDir, "inode %d", uint64(ino))
	}
	return n, err
}

// edit returns a copy of the inode that the command may change.
func (t *tx) edit(ino vocab.Ino) (*inode, error) {
	n, err := t.inode(ino)
	if err != nil {
		return nil, err
	}
	if _, edited := t.inodes[ino]; edited {
		return n, nil
	}
	c := *n
	t.put(&c)
	return &c, nil
}

func (t *tx) put(n *inode)        { t.putAs(n.attr.Ino, n) }
func (t *tx) erase(ino vocab.Ino) { t.putAs(ino, nil) }

func (t *tx) putAs(ino vocab.Ino, n *inode) {
	if t.inodes == nil {
		t.inodes = map[vocab.Ino]*inode{}
	}
	t.inodes[ino] = n
}

// chain returns the entries of parent under the hash.
func (t *tx) chain(k chainKey) (*chain, error) {
	if c, ok := t.chains[k]; ok {
		return c, nil
	}
	if c, ok := t.s.chainCache.get(k); ok {
		t.saw(c.index)
		return c, nil
	}
	c := &chain{}
	for i := range maxChain {
		var e slot
		there, err := value(t.s.db, direntKey(t.exp.EID, k.parent, k.cookie(i)), &e)
		if err != nil {
			return nil, err
		}
		if !there {
			break
		}
		c.slots = append(c.slots, e)
	}
	t.s.chainCache.put(k, c)
	return c, nil
}

// find looks a name up; ok tells whether it is there.
func (t *tx) find(parent vocab.Ino, name string) (e slot, ok bool, err error) {
	c, err := t.chain(chainKey{parent, t.s.hash(name)})
	if err != nil {
		return slot{}, false, err
	}
	for _, e := range c.slots {
		if e.name == name {
			return e, true, nil
		}
	}
	return slot{}, false, nil
}

// enter writes the entry: in the place of its name, or in a free one.
func (t *tx) enter(parent vocab.Ino, e slot) error {
	k := chainKey{parent, t.s.hash(e.name)}
	c, err := t.chain(k)
	if err != nil {
		return err
	}
	at := len(c.slots)
	for i := range c.slots {
		if c.slots[i].name == e.name {
			at = i
			break
		}
		if c.slots[i].name == "" {
			at = min(at, i)
		}
	}
	if at == maxChain {
		return vocab.Errorf(vocab.NoSpace, "%d names of the directory share a hash", maxChain)
	}
	slots := append([]slot(nil), c.slots...)
	if at == len(slots) {
		slots = append(slots, slot{})
	}
	slots[at] = e
	t.editChain(k, slots)
	return nil
}

// remove takes a name out. Its slot becomes a tombstone while later ones live.
func (t *tx) remove(parent vocab.Ino, name string) error {
	k := chainKey{parent, t.s.hash(name)}
	c, err := t.chain(k)
	if err != nil {
		return err
	}
	slots := append([]slot(nil), c.slots...)
	for i := range slots {
		if slots[i].name == name {
			slots[i] = slot{}
		}
	}
	for len(slots) > 0 && slots[len(slots)-1].name == "" {
		slots = slots[:len(slots)-1]
	}
	t.editChain(k, slots)
	return nil
}

func (t *tx) editChain(k chainKey, slots []slot) {
	if t.chains == nil {
		t.chains = map[chainKey]*chain{}
	}
	t.chains[k] = &chain{slots: slots}
}

func (t *tx) set(key []byte, m wire.Message) { t.puts = append(t.puts, pair{key, encode(m)}) }
func (t *tx) drop(key []byte)                { t.drops = append(t.drops, key) }
func (t *tx) hook(f func())                  { t.hooks = append(t.hooks, f) }

// freshEpoch hands out the next epoch. It is durable only with a batch.
func (t *tx) freshEpoch() vocab.Epoch {
	t.count.epoch++
	return vocab.MakeEpoch(t.s.store.incarnation, t.count.epoch)
}

// durable tells whether the command has something to store.
func (t *tx) durable() bool {
	return len(t.inodes)+len(t.chains)+len(t.puts)+len(t.drops)+len(t.spans) > 0
}

// batch makes one batch of all that the command changes.
func (t *tx) batch() (*pebble.Batch, error) {
	t.count.applied++
	b := t.s.db.NewBatch()
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	check(b.Set(countersKey(), encode(&t.count), nil))
	for ino, n := range t.inodes {
		k := fileKey(prefixInode, t.exp.EID, ino)
		if n == nil {
			check(b.Delete(k, nil))
			continue
		}
		n.index = t.count.applied
		check(b.Set(k, encode(n), nil))
	}
	for k, c := range t.chains {
		c.index = t.count.applied
		check(t.batchChain(b, k, c))
	}
	if t.files != 0 || t.bytes != 0 {
		rec := t.usage()
		check(b.Set(exportKey(t.exp.EID), encode(&rec), nil))
	}
	for _, p := range t.puts {
		check(b.Set(p.key, p.value, nil))
	}
	for _, k := range t.drops {
		check(b.Delete(k, nil))
	}
	for _, r := range t.spans {
		check(b.DeleteRange(r[0], r[1], nil))
	}
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return b, nil
}

func (t *tx) batchChain(b *pebble.Batch, k chainKey, c *chain) error {
	var old []slot
	if before, ok := t.s.chainCache.get(k); ok {
		old = before.slots
	} else { // evicted since it was read: write all, delete what may be beyond
		for i := len(c.slots); ; i++ {
			key := direntKey(t.exp.EID, k.parent, k.cookie(i))
			if there, err := value(t.s.db, key, new(slot)); err != nil {
				return err
			} else if !there {
				break
			}
			if err := b.Delete(key, nil); err != nil {
				return err
			}
		}
	}
	for i := range c.slots {
		if i < len(old) && old[i] == c.slots[i] {
			continue
		}
		if err := b.Set(direntKey(t.exp.EID, k.parent, k.cookie(i)), encode(&c.slots[i]), nil); err != nil {
			return err
		}
	}
	for i := len(c.slots); i < len(old); i++ {
		if err := b.Delete(direntKey(t.exp.EID, k.parent, k.cookie(i)), nil); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) usage() exportRecord {
	rec := t.exp.exportRecord
	rec.files = uint64(int64(rec.files) + t.files)
	rec.bytes = uint64(int64(rec.bytes) + t.bytes)
	return rec
}

// committed brings memory up to what the batch has done.
func (t *tx) committed() {
	t.s.count = t.count
	for ino, n := range t.inodes {
		if n == nil {
			t.s.inodeCache.drop(inodeID{t.exp.EID, ino})
		} else {
			t.s.inodeCache.put(inodeID{t.exp.EID, ino}, n)
		}
	}
	for k, c := range t.chains {
		t.s.chainCache.put(k, c)
	}
	if t.files != 0 || t.bytes != 0 {
		t.exp.exportRecord = t.usage()
	}
	for _, f := range t.hooks {
		f()
	}
}
