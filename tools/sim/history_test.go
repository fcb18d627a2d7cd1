package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// register is what the checker takes for one: a block of a file, of two cells, or the size of a
// file, in the first.
type register struct {
	file  int
	block int // -1: the size
}

func (r register) String() string {
	if r.block < 0 {
		return fmt.Sprintf("the size of file %d", r.file)
	}
	return fmt.Sprintf("block %d of file %d", r.block, r.file)
}

type kind uint8

const (
	opWrite kind = iota // the cells of mask become cells
	opGrow              // of a size: at least cells[0]
	opRead              // found cells in the mask; the others lie beyond the end
	opSync              // what the client wrote is durable
	opLose              // the client was told that some of what it wrote is lost
	opCrash             // the client is gone
)

type cells [cellsPerBlock]value

// op is an operation on one register.
type op struct {
	client int
	kind   kind
	mask   uint8
	cells  cells
	maybe  bool // it failed, or nobody knows: it was done or it was not
	// after are clients, a bit for each, that had crashed when it was called: by then, since
	// it needs a lease, it is decided what they have left.
	after uint64
}

func (o op) String() string {
	text := [...]string{"write", "grow to", "read", "sync", "lose", "crash"}[o.kind]
	if o.kind <= opRead {
		text += fmt.Sprint(" ", o.cells)
	}
	if o.kind != opGrow && o.mask != 3 {
		text += fmt.Sprintf(" (mask %b)", o.mask)
	}
	if o.maybe {
		text += " perhaps"
	}
	return fmt.Sprintf("client %d: %s", o.client, text)
}

// state of a register: what it is, and what it may be after a crash of its writer.
//
// A client that writes is the owner until another one uses the register, which recalls its
// lease and so makes durable what it wrote. Until then, or a sync, any value since the last
// durable one is what a crash of the owner may leave: clients save now and then on their own.
type state struct {
	now   cells
	kept  string // the values that a crash of the owner may leave, now among them, each as keep puts it
	owner int    // -1: nobody
	dead  uint64 // bit set of clients
}

func keep(c cells) string { return fmt.Sprintf("%d,%d;", c[0], c[1]) }

func initial() state { return state{owner: -1, kept: keep(cells{})} }

// step gives the states that an operation may lead to.
func step(s state, o op) (next []state) {
	if o.after&^s.dead != 0 {
		return nil
	}
	before := s
	if s.owner >= 0 && s.owner != o.client && o.kind <= opRead {
		s.owner, s.kept = -1, keep(s.now)
	}
	switch o.kind {
	case opRead:
		for i := range s.now {
			if o.mask&(1<<i) != 0 && s.now[i] != o.cells[i] {
				return nil
			}
		}
		return []state{s}
	case opSync:
		if s.owner == o.client {
			s.kept = keep(s.now)
		}
		return []state{s}
	case opLose, opCrash:
		if o.kind == opCrash {
			s.dead |= 1 << o.client
		}
		if s.owner != o.client {
			return []state{s}
		}
		if o.kind == opLose {
			next = append(next, s)
		}
		for one := range strings.SplitAfterSeq(s.kept, ";") {
			if one == "" {
				continue
			}
			var c cells
			_, _ = fmt.Sscanf(one, "%d,%d;", &c[0], &c[1]) // keep wrote it
			next = append(next, state{now: c, kept: one, owner: -1, dead: s.dead})
			// Where the new size is lost, and not what was written before the old end.
			if half := (cells{c[0]}); c != half && strings.Contains(s.kept, ",0;") {
				next = append(next, state{now: half, kept: keep(half), owner: -1, dead: s.dead})
			}
		}
		return next
	}
	if o.maybe {
		next = append(next, before)
	}
	if s.dead&(1<<o.client) != 0 {
		return next
	}
	s.owner = o.client
	if o.kind == opGrow {
		s.now[0] = max(s.now[0], o.cells[0])
	}
	for i := range s.now {
		if o.kind == opWrite && o.mask&(1<<i) != 0 {
			s.now[i] = o.cells[i]
		}
	}
	if one := keep(s.now); !strings.Contains(";"+s.kept, ";"+one) {
		s.kept += one
	}
	return append(next, s)
}

var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{initial()} },
	Step: func(s, in, _ any) []any {
		var next []any
		for _, n := range step(s.(state), in.(op)) {
			next = append(next, n)
		}
		return next
	},
	DescribeOperation: func(in, _ any) string { return in.(op).String() },
	DescribeState:     func(s any) string { return fmt.Sprintf("%v of %s", s.(state).now, s.(state).kept) },
}

// told is what a client was told of all that it wrote to a file.
type told struct {
	client, file int
	kind         kind // opSync, opLose
	call, ret    int64
}

// forever is the return of what may take effect at any time after its call.
const forever = 1 << 60

// history records what clients did and were told. Its clock counts calls and returns.
type history struct {
	mu      sync.Mutex // guards all below
	tick    int64
	ops     map[register][]porcupine.Operation
	writers map[register]uint64 // bit set of clients
	told    []told
	synced  map[[2]int]int64 // client, file → call of the last sync that succeeded
	crashed map[int]int64    // client → when
}

func newHistory() *history {
	return &history{
		ops: map[register][]porcupine.Operation{}, writers: map[register]uint64{},
		synced: map[[2]int]int64{}, crashed: map[int]int64{},
	}
}

// now gives the time of a call.
func (h *history) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick++
	return h.tick
}

// add enters an operation that has returned just now. What a client that has crashed
// meanwhile was doing may have been done; nobody was told.
func (h *history) add(r register, called int64, o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick++
	ret := h.tick
	if _, dead := h.crashed[o.client]; dead {
		if o.kind == opRead {
			return
		}
		o.maybe = true
	}
	if o.maybe {
		ret = forever
	}
	if o.kind != opRead {
		h.writers[r] |= 1 << o.client
	}
	h.ops[r] = append(h.ops[r], porcupine.Operation{ClientId: o.client, Input: o, Call: called, Return: ret})
}

// sync enters that all is durable that the client had written to the file when it asked.
func (h *history) sync(client, file int, called int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, dead := h.crashed[client]; dead {
		return
	}
	h.tick++
	h.told = append(h.told, told{client, file, opSync, called, h.tick})
	h.synced[[2]int{client, file}] = called
}

// lose enters that the client was told of an error with the file: what it wrote since the
// last sync may be gone, and may have been since then.
func (h *history) lose(client, file int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick++
	h.told = append(h.told, told{client, file, opLose, h.synced[[2]int{client, file}], h.tick})
}

// crash enters that a client is gone.
func (h *history) crash(client int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick++
	h.crashed[client] = h.tick
}

// isDead tells whether a client has crashed.
func (h *history) isDead(client int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.crashed[client] != 0
}

// operations gives those of a register with what its writers were told.
func (h *history) operations(r register) []porcupine.Operation {
	wrote := func(client int) bool { return h.writers[r]&(1<<client) != 0 }
	all := slices.Clone(h.ops[r])
	for i, x := range all {
		o := x.Input.(op)
		for client, at := range h.crashed {
			if client != o.client && at < x.Call && wrote(client) {
				o.after |= 1 << client
			}
		}
		all[i].Input = o
	}
	for _, t := range h.told {
		if t.file == r.file && wrote(t.client) {
			all = append(all, porcupine.Operation{ClientId: t.client, Input: op{client: t.client, kind: t.kind}, Call: t.call, Return: t.ret})
		}
	}
	for client, at := range h.crashed {
		if wrote(client) {
			all = append(all, porcupine.Operation{ClientId: client, Input: op{client: client, kind: opCrash}, Call: at, Return: forever})
		}
	}
	return all
}

// registers lists all in order.
func (h *history) registers() (all []register) {
	for r := range h.ops {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b register) int { return cmp.Or(a.file-b.file, a.block-b.block) })
	return all
}

// checkTimeout bounds the search for an order of one register's operations, by the clock on
// the wall. What is not decided by then is counted, and no failure.
const checkTimeout = 10 * time.Second

// check judges all registers, when all clients have ended.
func (h *history) check() (wrong []string, undecided int) {
	m := model.ToModel()
	for _, r := range h.registers() {
		ops := h.operations(r)
		switch porcupine.CheckOperationsTimeout(m, ops, checkTimeout) {
		case porcupine.Illegal:
			wrong = append(wrong, fmt.Sprintf("%v: no order of these explains what was read:\n%s", r, describe(ops)))
		case porcupine.Unknown:
			undecided++
		}
	}
	return wrong, undecided
}

func describe(ops []porcupine.Operation) string {
	var b strings.Builder
	sorted := slices.Clone(ops)
	slices.SortFunc(sorted, func(x, y porcupine.Operation) int { return int(x.Call - y.Call) })
	for _, o := range sorted {
		end := fmt.Sprint(o.Return)
		if o.Return == forever {
			end = "?"
		}
		fmt.Fprintf(&b, "  %5d to %5s  %v\n", o.Call, end, o.Input)
	}
	return b.String()
}
