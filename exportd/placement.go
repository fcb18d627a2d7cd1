package exportd

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// member is a storage as placement sees it.
type member struct {
	sid         vocab.SID
	domain      string // what fails as one
	up          bool   // reachable, healthy, and the root that exportd knows
	total, free uint64 // bytes
}

// clusterView is a cluster as placement sees it. Immutable.
type clusterView struct {
	cid     vocab.CID
	members []member
}

// volumeView is made anew by each poll that changes it. Immutable.
type volumeView struct {
	clusters []clusterView
}

// freeSteps is how finely free space is compared: storages whose share of free
// space is within the same step count as equal, and take turns by hash.
const freeSteps = 100

func (m *member) step() uint64 {
	if m.total == 0 {
		return 0
	}
	return min(m.free, m.total) / (m.total/freeSteps + 1)
}

func (m *member) usable() bool { return m.up && m.free > 0 }

// choose decides where a new file lies. It is a pure function of what the
// storages last said and of the seed: the cluster with the most free space, in it
// `safe` storages, reachable ones first, then of different failure domains, then
// those with the most free space; ties are broken by hash of seed and sid.
func choose(v *volumeView, l vocab.Layout, seed uint64) (vocab.Distribution, error) {
	var best *clusterView
	var bestFree uint64
	up := 0
	for i := range v.clusters {
		c := &v.clusters[i]
		usable, reachable, free := 0, 0, uint64(0)
		for j := range c.members {
			if c.members[j].up {
				reachable++
			}
			if c.members[j].usable() {
				usable++
				free += c.members[j].free
			}
		}
		up = max(up, reachable)
		if len(c.members) >= int(l.Safe) && usable >= int(l.Forward) && (best == nil || free > bestFree) {
			best, bestFree = c, free
		}
	}
	if best == nil {
		if up >= int(l.Forward) {
			return vocab.Distribution{}, vocab.Errorf(vocab.NoSpace, "no cluster has %d storages with free space", l.Forward)
		}
		return vocab.Distribution{}, vocab.Errorf(vocab.Unavailable, "no cluster has %d storages that exportd can reach; at most %d answer", l.Forward, up)
	}
	return vocab.Distribution{CID: best.cid, Generation: 1, SIDs: pick(best.members, int(l.Safe), seed)}, nil
}

// ranked is a member with what orders it.
type ranked struct {
	*member
	tie  uint64
	rank int // place within its failure domain
}

// replacement chooses who takes the place of the storage at a position of a distribution: a
// usable one that is not in it, of a failure domain that no other of it has if there is
// one, with the most free space; 0 if there is none.
func replacement(v *volumeView, d *vocab.Distribution, position int, seed uint64) vocab.SID {
	c := v.cluster(d.CID)
	if c == nil {
		return 0
	}
	taken := map[string]bool{}
	var best *ranked
	for i := range c.members {
		if at := slices.Index(d.SIDs, c.members[i].sid); at >= 0 && at != position {
			taken[c.members[i].domain] = true
		}
	}
	for i := range c.members {
		m := &c.members[i]
		if !m.usable() || slices.Contains(d.SIDs, m.sid) {
			continue
		}
		r := ranked{member: m, tie: tieBreak(seed, m.sid)}
		if taken[m.domain] {
			r.rank = 1
		}
		if best == nil || cmp.Or(cmp.Compare(r.rank, best.rank), better(r, *best)) < 0 {
			best = &r
		}
	}
	if best == nil {
		return 0
	}
	return best.sid
}

// balanceSteps is how many hundredths of its space a storage has less free than another
// before a file moves from it to that.
const balanceSteps = 4

// tooFull gives the home position of a distribution from which its file should move, to have
// the storages equally full, or -1.
func tooFull(v *volumeView, l vocab.Layout, d *vocab.Distribution, seed uint64) int {
	c := v.cluster(d.CID)
	if c == nil {
		return -1
	}
	worst := -1
	var fullest *member
	for i := range c.members {
		at := slices.Index(d.SIDs, c.members[i].sid)
		if at >= 0 && at < int(l.Forward) && c.members[i].total > 0 && (fullest == nil || c.members[i].step() < fullest.step()) {
			worst, fullest = at, &c.members[i]
		}
	}
	if worst < 0 {
		return -1
	}
	other := replacement(v, d, worst, seed)
	for i := range c.members {
		if m := &c.members[i]; m.sid == other && m.step() >= fullest.step()+balanceSteps {
			return worst
		}
	}
	return -1
}

func (v *volumeView) cluster(cid vocab.CID) *clusterView {
	for i := range v.clusters {
		if v.clusters[i].cid == cid {
			return &v.clusters[i]
		}
	}
	return nil
}

func pick(members []member, safe int, seed uint64) []vocab.SID {
	all := make([]ranked, len(members))
	for i := range members {
		all[i] = ranked{member: &members[i], tie: tieBreak(seed, members[i].sid)}
	}
	slices.SortFunc(all, better)
	inDomain := map[string]int{}
	for i := range all {
		all[i].rank = inDomain[all[i].domain]
		inDomain[all[i].domain]++
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(compareBool(a.usable(), b.usable()), cmp.Compare(a.rank, b.rank))
	})
	chosen := all[:safe]
	slices.SortFunc(chosen, better) // least space last: those are the spares
	sids := make([]vocab.SID, safe)
	for i := range chosen {
		sids[i] = chosen[i].sid
	}
	return sids
}

// better sorts usable ones first, then by free space, then by hash.
func better(a, b ranked) int {
	return cmp.Or(compareBool(a.usable(), b.usable()), cmp.Compare(b.step(), a.step()), cmp.Compare(a.tie, b.tie), cmp.Compare(a.sid, b.sid))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func tieBreak(seed uint64, sid vocab.SID) uint64 {
	h := fnv.New64a()
	var b [9]byte
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	b[8] = byte(sid)
	h.Write(b[:])
	x := h.Sum64() // FNV's upper bits hardly depend on the last byte: mix
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// place makes the placement of a new file.
func (s *Server) place(x *export, ino vocab.Ino) (vocab.Placement, error) {
	d, err := choose(s.view(x.VID), x.vol.Layout, uint64(ino))
	if err != nil {
		return vocab.Placement{}, err
	}
	return vocab.Placement{
		FID:          vocab.MakeFID(s.store.group, s.store.incarnation, x.EID, ino),
		Geometry:     x.geometry(x.vol),
		Distribution: d,
	}, nil
}

// awaitPoll waits, at the start, until every storage was asked once.
func (s *Server) awaitPoll(ctx context.Context) {
	select {
	case <-s.polled:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
}

// domainOf is the host of an address.
func domainOf(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		return addr[:i]
	}
	return addr
}
