package storaged

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged/disk"
	"github.com/rozofs-go/rozo/storaged/disk/memdisk"
)

var (
	crashSeed  = flag.Uint64("crash-seed", 0, "the one seed to run TestNothingSyncedIsLostWithThePower with")
	crashSeeds = flag.Int("crash-seeds", 30, "how many seeds to run it with")
)

// said is what the model knows of one version of a block.
type said struct {
	void   bool // a discard
	synced bool
	maybe  bool // a discard that a crash may have lost
}

// crashModel is what a storage has been told of one file, and what it owes.
type crashModel struct {
	g      *rig
	r      *rand.Rand
	disk   *memdisk.Disk
	blocks map[uint64]map[vocab.Version]*said
	final  vocab.Version // that it was told since it started, or before and then synced
	next   uint64        // counter
	log    []string
}

const crashBlocks = 700 // more than a large run

func newCrashModel(t *testing.T, seed uint64) *crashModel {
	m := &crashModel{r: rand.New(rand.NewPCG(seed, 7)), disk: memdisk.New(), blocks: map[uint64]map[vocab.Version]*said{}, next: 1}
	id := Identity{Cluster: testCluster, ID: testID, Incarnation: 77}
	require.NoError(t, InitDisk(m.disk, id))
	m.g = &rig{t: t, path: "/mem"}
	m.g.cfg = Config{Roots: []RootConfig{{CID: 1, SID: 1, Path: "/mem"}}, JournalBytes: MinJournalBytes, MaxOpenFiles: 1}
	m.g.cfg.OpenDisk = func(string) (disk.Disk, error) { return m.disk, nil }
	m.g.incarnation = 77
	m.g.start()
	return m
}

func (m *crashModel) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// version draws the version of a change: mostly a new one, sometimes one that comes late.
func (m *crashModel) version() vocab.Version {
	m.next++
	if m.r.IntN(6) == 0 && m.next > 10 {
		return version(m.next - 1 - m.r.Uint64N(8))
	}
	return version(m.next)
}

func (m *crashModel) say(b uint64, v vocab.Version, void bool) {
	if m.blocks[b] == nil {
		m.blocks[b] = map[vocab.Version]*said{}
	}
	if old := m.blocks[b][v]; old != nil {
		old.void = old.void || void
		return
	}
	m.blocks[b][v] = &said{void: void}
}

func (m *crashModel) write() {
	v, first := m.version(), m.r.Uint64N(crashBlocks/2)
	count := 1 + m.r.IntN(20)
	if m.r.IntN(4) == 0 {
		count = len(large(v)) + m.r.IntN(20)
	}
	first = min(first, crashBlocks-uint64(count))
	for b := first; b < first+uint64(count); b++ {
		if m.blocks[b][v] != nil {
			return // a version is given once
		}
		if v.Compare(m.final) <= 0 && !m.isDiscarded(b, v) {
			return // nobody needs it: whether it is kept does not matter
		}
	}
	m.note("write %v at %d, %d blocks", v, first, count)
	m.g.write(first, slices.Repeat([]vocab.Version{v}, count)...)
	for b := first; b < first+uint64(count); b++ {
		m.say(b, v, false)
	}
}

// writeLate writes what must be held back: a version below a discard that was synced.
func (m *crashModel) writeLate() {
	first := m.r.Uint64N(crashBlocks)
	for b := first; b < crashBlocks; b++ {
		for w, s := range m.blocks[b] {
			v := version(w.Counter - 1)
			if !s.void || v.Absent() || m.blocks[b][v] != nil || !m.isDiscarded(b, v) {
				continue
			}
			m.note("write %v at %d, late", v, b)
			m.g.write(b, v)
			m.say(b, v, false)
			return
		}
	}
}

// isDiscarded tells whether a version of a block must be held back.
func (m *crashModel) isDiscarded(b uint64, v vocab.Version) bool {
	for w, s := range m.blocks[b] {
		if s.void && s.synced && !s.maybe && w.Compare(v) > 0 {
			return true
		}
	}
	return false
}

func (m *crashModel) discard() {
	v, first, count := version(m.next+1), m.r.Uint64N(crashBlocks), 1+m.r.IntN(50)
	m.next++
	toEnd := m.r.IntN(2) == 0
	if toEnd {
		count = 0
	}
	m.note("discard %v at %d, %d blocks", v, first, count)
	err := m.g.send(wire.OpDiscard, &wire.DiscardRequest{Target: m.g.to, Run: m.g.run(first, count), Version: v, PayloadBytes: testPayload}, nil, &wire.BootReply{})
	if err != nil {
		require.ErrorIs(m.g.t, err, vocab.Overloaded)
		m.note("refused")
		return
	}
	end := first + uint64(count)
	if toEnd {
		end = crashBlocks
	}
	for b := first; b < end; b++ {
		m.say(b, v, true)
	}
}

func (m *crashModel) sync() {
	m.note("sync")
	m.g.sync()
	for _, versions := range m.blocks {
		for _, s := range versions {
			s.synced = true
		}
	}
}

// finalize says that all up to some version is final: as a client does, of what is synced.
func (m *crashModel) finalize() {
	v := version(m.next)
	if m.r.IntN(2) == 0 {
		v = version(m.r.Uint64N(m.next + 1))
	}
	m.sync()
	m.note("final %v", v)
	m.g.final(v)
	if v.Compare(m.final) > 0 {
		m.final = v
	}
}

func (m *crashModel) fold() {
	all := m.r.IntN(2) == 0
	m.note("fold %v", all)
	_, err := m.g.srv.order[0].fold(all)
	require.NoError(m.g.t, err)
}

func (m *crashModel) restart(crash bool) {
	m.note("restart, crash %v", crash)
	after := m.disk
	if crash {
		after = m.disk.LosePower(m.r)
	}
	m.g.conn.Close()
	m.g.admin.Close()
	err := m.g.srv.Close()
	if !crash {
		require.NoError(m.g.t, err)
	}
	m.disk = after
	m.g.start()
	if crash {
		m.forget()
	}
}

// forget takes over what the storage has found after a crash: what was not synced may be
// there or not.
func (m *crashModel) forget() {
	have := m.walk()
	for b, versions := range m.blocks {
		for v, s := range versions {
			if !s.synced && s.void {
				s.maybe = true
			} else if !s.synced && !slices.Contains(have[b], v) {
				delete(versions, v)
			}
		}
	}
}

// walk asks for all versions of all blocks, from the newest down.
func (m *crashModel) walk() map[uint64][]vocab.Version {
	all := map[uint64][]vocab.Version{}
	below := vocab.Version{}
	type ask struct {
		block uint64
		below vocab.Version
	}
	var asks []ask
	got := m.g.readBelow(0, crashBlocks, below)
	for b, f := range got {
		require.NotEqual(m.g.t, unknown, f, "block %d", b)
		if f != absent {
			all[uint64(b)] = append(all[uint64(b)], f.version)
			asks = append(asks, ask{uint64(b), f.version})
		}
	}
	for len(asks) > 0 {
		a := asks[0]
		asks = asks[1:]
		if f := m.g.readBelow(a.block, 1, a.below)[0]; f.state == wire.SlotPresent {
			all[a.block] = append(all[a.block], f.version)
			asks = append(asks, ask{a.block, f.version})
		}
	}
	return all
}

// check compares what the storage has with what it owes: of each block the newest final
// version and all above it, or nothing where the newest is a discard.
func (m *crashModel) check() {
	m.note("check")
	have := m.walk()
	for b := range uint64(crashBlocks) {
		var newest, base vocab.Version
		for v, s := range m.blocks[b] {
			if v.Compare(newest) > 0 && (!s.maybe || len(have[b]) == 0) {
				newest = v
			}
			if v.Compare(m.final) <= 0 && v.Compare(base) > 0 {
				base = v
			}
		}
		what := fmt.Sprintf("block %d: has %v, was told %v, final %v", b, have[b], slices.Collect(maps.Keys(m.blocks[b])), m.final)
		if s := m.blocks[b][newest]; s == nil || s.void {
			require.Empty(m.g.t, have[b], what)
			continue
		}
		require.NotEmpty(m.g.t, have[b], what)
		require.Equal(m.g.t, newest, have[b][0], what)
		for _, v := range have[b] {
			require.Contains(m.g.t, m.blocks[b], v, what)
		}
		var void vocab.Version // what lies below a discard is not asked for
		for v, s := range m.blocks[b] {
			if s.void && v.Compare(void) > 0 {
				void = v
			}
		}
		for v, s := range m.blocks[b] {
			if !s.void && v.Compare(base) >= 0 && v.Compare(void) > 0 {
				require.Contains(m.g.t, have[b], v, what)
			}
		}
	}
}

// A storage that loses its power has what was synced, whole, and of the rest whole
// versions or nothing.
func TestNothingSyncedIsLostWithThePower(t *testing.T) {
	seeds := *crashSeeds
	if *crashSeed != 0 {
		seeds = 1
	}
	for i := range seeds {
		seed := uint64(i + 1)
		if *crashSeed != 0 {
			seed = *crashSeed
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newCrashModel(t, seed)
			t.Cleanup(func() {
				m.g.conn.Close()
				m.g.admin.Close()
				_ = m.g.srv.Close()
				if t.Failed() {
					t.Logf("again with -crash-seed=%d; what was done:\n%v", seed, m.log)
				}
			})
			for range 60 {
				switch m.r.IntN(13) {
				case 0:
					m.discard()
				case 1, 2:
					m.sync()
				case 3:
					m.finalize()
				case 4:
					m.fold()
				case 5:
					m.restart(m.r.IntN(3) > 0)
				case 6:
					m.check()
				case 7:
					m.writeLate()
				default:
					m.write()
				}
			}
			m.check()
			m.finalize()
			m.fold()
			m.restart(true)
			m.check()
		})
	}
}
