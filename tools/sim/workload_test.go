package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

const (
	maxCells = 24  // of most files
	bigCells = 160 // of files that are written in large runs, too
)

// names is what the test knows of the export's names. Each is used for one file only, but
// for those that are renamed over, which only their client opens.
type names struct {
	mu      sync.Mutex // guards all below
	next    int
	file    map[string]int  // what a name that is there stands for
	unsure  map[string]bool // names of which nobody knows
	big     map[int]bool    // files
	retired map[string]bool // names unlinked, or renamed away
}

func newNames() *names {
	return &names{file: map[string]int{}, unsure: map[string]bool{}, big: map[int]bool{}, retired: map[string]bool{}}
}

func (n *names) fresh() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return n.next
}

// changed takes over the outcome of an operation on names: with an error both outcomes are
// possible.
func (n *names) changed(err error, there map[string]int, gone ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, file := range there {
		n.file[name] = file
		n.unsure[name] = err != nil
	}
	for _, name := range gone {
		if err == nil {
			delete(n.file, name)
			n.retired[name] = true
		}
		n.unsure[name] = err != nil
	}
}

// pick draws a name that matches, with its file.
func (n *names) pick(r *rand.Rand, match func(name string) bool) (name string, file int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(n.file)) {
		if !n.unsure[name] && match(name) {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return "", 0, false
	}
	name = all[r.IntN(len(all))]
	return name, n.file[name], true
}

func (n *names) cells(file int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.big[file] {
		return bigCells
	}
	return maxCells
}

// client is one mount and those who work on it.
type client struct {
	ep     *episode
	id     int
	name   string
	mount  *rozofs.Client
	tree   *rozofs.Tree
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex // guards the rest
	open  map[int]*openFile
	wrote value
}

// openFile is a handle.
type openFile struct {
	file int
	name string
	f    *rozofs.File
	uses sync.WaitGroup
}

func (ep *episode) newClient(id int) (*client, error) {
	c := &client{ep: ep, id: id, name: fmt.Sprintf("client%d", id), open: map[int]*openFile{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var err error
	for began := time.Now(); c.mount == nil; {
		// A mount whose first connection is refused fails at once.
		if c.mount, err = ep.c.mount(c.ctx, c.name); err != nil && time.Since(began) > patience {
			c.cancel()
			return nil, fmt.Errorf("mount of %s: %w", c.name, err)
		}
		if err != nil {
			time.Sleep(time.Second)
		}
	}
	c.tree = c.mount.Tree(rozofs.Caller{UID: 1000, GID: 100})
	return c, nil
}

// crash ends the client at once.
func (c *client) crash(silent bool) {
	c.ep.c.net.vanish(c.name, silent)
	if c.ep.wasLogged("export", "session ended: not heard of for its term", "name="+c.name) {
		c.loseAll()
	}
	c.ep.history.crash(c.id)
	c.cancel()
	c.mount.Kill()
	c.work.Wait()
}

// loseAll says of a client whose session exportd has ended, and that does not live to hear of
// it, that what it wrote since the last sync may have been lost before.
func (c *client) loseAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for file := range c.open {
		c.ep.history.lose(c.id, file)
	}
}

// dead tells whether nobody is told any more of what the client does.
func (c *client) dead() bool { return c.ep.history.isDead(c.id) }

// note writes what the client did to the trace.
func (c *client) note(err error, format string, args ...any) {
	if c.dead() {
		return
	}
	text := fmt.Sprintf(format, args...)
	if err != nil {
		text += ": " + err.Error()
	}
	c.ep.note(c.name, "%s", text)
}

// expected are errors that the faults of an episode explain.
func (c *client) expected(err error) bool {
	return err == nil || c.dead() || errors.Is(err, vocab.Stale) || errors.Is(err, vocab.NoSpace) ||
		errors.Is(err, vocab.Fenced) && c.ep.wasLogged("export", "session ended: not heard of for its term", "name="+c.name)
}

// failed takes note of an error of an operation on a file.
func (c *client) failed(file int, what string, err error) {
	if err == nil || c.dead() {
		return
	}
	c.ep.history.lose(c.id, file)
	if !c.expected(err) {
		c.ep.problem("%s: %s of file %d: %v", c.name, what, file, err)
	}
}

// worker does n operations.
func (c *client) worker(number, n int) {
	r := c.ep.rand(fmt.Sprint("worker ", c.id, number))
	for range n {
		if c.ctx.Err() != nil {
			return
		}
		pauseFor := time.Duration(r.Int64N(int64(20 * time.Millisecond)))
		if r.IntN(20) == 0 {
			pauseFor = time.Duration(r.Int64N(int64(3 * time.Second))) // so that what runs now and then runs
		}
		time.Sleep(pauseFor)
		c.operate(r, number == 0)
	}
}

// operate does one operation. Only the first worker changes names and has to do with files
// that are renamed over.
func (c *client) operate(r *rand.Rand, first bool) {
	if first && r.IntN(8) == 0 {
		c.operateOnNames(r)
		return
	}
	shared := r.IntN(3) > 0
	name, file, ok := c.ep.names.pick(r, func(name string) bool {
		return shared == (name[0] == 's') && (name[0] != 'p' || first && c.mine(name))
	})
	if !ok {
		return
	}
	o := c.handle(file, name)
	if o == nil {
		return
	}
	defer o.uses.Done()
	switch r.IntN(16) {
	case 0:
		c.truncate(r, o)
	case 1, 2:
		c.sync(o)
	case 3:
		c.stat(o)
	case 4:
		c.read(o, 0, c.ep.names.cells(file)/cellsPerBlock)
	case 5, 6, 7:
		blocks := c.ep.names.cells(file) / cellsPerBlock
		first := r.IntN(blocks)
		c.read(o, first, 1+r.IntN(min(4, blocks-first)))
	default:
		c.write(r, o)
	}
}

// mine tells whether a name is one that others leave alone.
func (c *client) mine(name string) bool {
	var id int
	_, err := fmt.Sscanf(name, "p%d.", &id)
	return err == nil && id == c.id
}

// handle opens a file, or takes the handle that there is.
func (c *client) handle(file int, name string) *openFile {
	c.mu.Lock()
	o := c.open[file]
	if o != nil {
		o.uses.Add(1)
		c.mu.Unlock()
		return o
	}
	c.mu.Unlock()
	f, err := c.tree.OpenFile(c.ctx, name, os.O_RDWR, 0)
	if err != nil {
		if !c.expected(err) && !errors.Is(err, vocab.NotFound) {
			c.ep.problem("%s: open of %s: %v", c.name, name, err)
		}
		return nil
	}
	return c.opened(file, name, f)
}

func (c *client) opened(file int, name string, f *rozofs.File) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[file]; o != nil { // the other worker was faster
		o.uses.Add(1)
		go func() { _ = f.Close() }() // nothing was written with it
		return o
	}
	o := &openFile{file: file, name: name, f: f}
	c.open[file] = o
	o.uses.Add(1)
	return o
}

func (c *client) write(r *rand.Rand, o *openFile) {
	all := c.ep.names.cells(o.file)
	n := 1 + r.IntN(3)
	switch r.IntN(12) {
	case 0, 1:
		n = 1 + r.IntN(16)
	case 2:
		n = min(all, 80)
	}
	first := r.IntN(all - n + 1)
	data := make([]byte, n*cellBytes)
	values := make([]value, n)
	c.mu.Lock()
	for i := range values {
		c.wrote++
		values[i] = value(c.id)*1_000_000 + c.wrote
		values[i].fill(data[i*cellBytes:][:cellBytes])
	}
	c.mu.Unlock()
	called := c.ep.history.now()
	_, err := o.f.WriteAtContext(c.ctx, data, int64(first)*cellBytes)
	c.note(err, "write %v to cells %d.. of %s (file %d)", values, first, o.name, o.file)
	c.record(o.file, called, first, values, err)
	c.ep.history.add(register{o.file, -1}, called, op{client: c.id, kind: opGrow, cells: cells{value(first + n)}, maybe: err != nil})
	c.failed(o.file, "write", err)
}

// record enters a write of values from a cell on, block by block.
func (c *client) record(file int, called int64, first int, values []value, err error) {
	for at := first; at < first+len(values); {
		w := op{client: c.id, kind: opWrite, maybe: err != nil}
		block := at / cellsPerBlock
		for ; at < first+len(values) && at/cellsPerBlock == block; at++ {
			w.mask |= 1 << (at % cellsPerBlock)
			w.cells[at%cellsPerBlock] = values[at-first]
		}
		c.ep.history.add(register{file, block}, called, w)
	}
}

func (c *client) truncate(r *rand.Rand, o *openFile) {
	all := c.ep.names.cells(o.file)
	size := r.IntN(all + 1)
	called := c.ep.history.now()
	err := o.f.Truncate(int64(size) * cellBytes)
	c.note(err, "truncate %s (file %d) to %d cells", o.name, o.file, size)
	c.record(o.file, called, size, make([]value, all-size), err)
	c.ep.history.add(register{o.file, -1}, called, op{client: c.id, kind: opWrite, mask: 1, cells: cells{value(size)}, maybe: err != nil})
	c.failed(o.file, "truncate", err)
}

func (c *client) sync(o *openFile) error {
	called := c.ep.history.now()
	err := o.f.Sync()
	c.note(err, "sync %s (file %d)", o.name, o.file)
	if err == nil {
		c.ep.history.sync(c.id, o.file, called)
	}
	c.failed(o.file, "sync", err)
	return err
}

func (c *client) stat(o *openFile) {
	called := c.ep.history.now()
	info, err := o.f.Stat()
	if err != nil {
		c.failed(o.file, "stat", err)
		return
	}
	c.note(err, "size of %s (file %d) is %d cells", o.name, o.file, info.Size()/cellBytes)
	if info.Size()%cellBytes != 0 {
		c.ep.problem("%s: file %d has %d bytes, no whole number of cells", c.name, o.file, info.Size())
	}
	c.ep.history.add(register{o.file, -1}, called, op{client: c.id, kind: opRead, mask: 1, cells: cells{value(info.Size() / cellBytes)}})
}

// read reads blocks and gives what they hold, nil if they cannot be read.
func (c *client) read(o *openFile, first, blocks int) []cells {
	data := make([]byte, blocks*blockBytes)
	called := c.ep.history.now()
	n, err := o.f.ReadAtContext(c.ctx, data, int64(first)*blockBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		c.note(err, "read blocks %d.. of %s (file %d)", first, o.name, o.file)
		c.failed(o.file, "read", err)
		return nil
	}
	clear(data[n:])
	found := make([]cells, blocks)
	for i := range found {
		seen := op{client: c.id, kind: opRead}
		for j := range found[i] {
			at := i*blockBytes + j*cellBytes
			if at < n {
				seen.mask |= 1 << j
			}
			v, err := valueOf(data[at:][:cellBytes])
			if err != nil && !c.dead() {
				c.ep.problem("%s: block %d of file %d: %v", c.name, first+i, o.file, err)
			}
			found[i][j] = v
		}
		if seen.cells = found[i]; seen.mask != 0 {
			c.ep.history.add(register{o.file, first + i}, called, seen)
		}
	}
	c.note(nil, "read %v from block %d of %s (file %d)", found, first, o.name, o.file)
	return found
}

// close makes durable and closes what the client has open of a file, when nobody uses it.
func (c *client) close(file int) {
	c.mu.Lock()
	o := c.open[file]
	delete(c.open, file)
	c.mu.Unlock()
	if o == nil {
		return
	}
	o.uses.Wait()
	if c.sync(o) != nil {
		_ = c.sync(o) // what failed is told once; this one makes durable what is left
	}
	err := o.f.CloseContext(c.ctx)
	c.failed(file, "close", err)
}

// finish closes everything and unmounts.
func (c *client) finish() error {
	c.work.Wait()
	c.mu.Lock()
	files := slices.Sorted(maps.Keys(c.open))
	c.mu.Unlock()
	for _, file := range files {
		c.close(file)
	}
	defer c.cancel()
	return c.mount.Close()
}

func (c *client) operateOnNames(r *rand.Rand) {
	n := c.ep.names
	own := func(name string) bool {
		var id int
		_, err := fmt.Sscanf(name[1:], "%d.", &id)
		return err == nil && name[0] != 's' && id == c.id
	}
	private := func(name string) bool { return c.mine(name) }
	switch r.IntN(6) {
	case 0, 1:
		c.create(fmt.Sprintf("%c%d.%d", "fpb"[r.IntN(3)], c.id, n.fresh()))
	case 2:
		if name, file, ok := n.pick(r, own); ok {
			c.changeName(nil, func() error { return c.tree.Remove(c.ctx, name) }, "unlink of "+name, name)
			if r.IntN(2) == 0 {
				c.close(file)
			}
		}
	case 3:
		if name, file, ok := n.pick(r, own); ok {
			to := fmt.Sprintf("%c%d.%d", name[0], c.id, n.fresh())
			c.changeName(map[string]int{to: file}, func() error { return c.tree.Rename(c.ctx, name, to) }, "rename of "+name+" to "+to, name)
		}
	case 4:
		from, file, ok := n.pick(r, private)
		to, _, ok2 := n.pick(r, private)
		if ok && ok2 && from != to {
			c.changeName(map[string]int{to: file}, func() error { return c.tree.Rename(c.ctx, from, to) }, "rename of "+from+" over "+to, from)
		}
	default:
		if _, file, ok := n.pick(r, func(string) bool { return true }); ok {
			c.close(file)
		}
	}
}

// changeName does what gives some names to files and takes others away.
func (c *client) changeName(there map[string]int, do func() error, what string, gone ...string) {
	c.ep.names.begin(there, gone)
	err := do()
	if c.dead() && err == nil {
		err = errors.New("nobody was told")
	}
	c.note(err, "%s", what)
	c.ep.names.changed(err, there, gone...)
	tooFew := errors.Is(err, vocab.Unavailable) && strings.Contains(err.Error(), "no cluster has") // the answer of placement
	if !c.expected(err) && !tooFew {
		c.ep.problem("%s: %s: %v", c.name, what, err)
	}
}

// begin makes the names unsure while they change.
func (n *names) begin(there map[string]int, gone []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range there {
		n.unsure[name] = true
	}
	for _, name := range gone {
		n.unsure[name] = true
	}
}

func (c *client) create(name string) {
	file := c.ep.names.fresh()
	if name[0] == 'b' {
		c.ep.names.mu.Lock()
		c.ep.names.big[file] = true
		c.ep.names.mu.Unlock()
	}
	var f *rozofs.File
	c.changeName(map[string]int{name: file}, func() (err error) {
		f, err = c.tree.OpenFile(c.ctx, name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	}, fmt.Sprintf("create %s, file %d", name, file))
	if f != nil {
		c.opened(file, name, f).uses.Done()
	}
}
