package storaged

import (
	"context"

	"github.com/rozofs-go/rozo/rozofs/block"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// repair brings every final block home. Blocks that are being written are left, and it ends
// with an error of kind Busy if there were such.
func (w *settler) repair(ctx context.Context) error {
	w.dial(ctx)
	for p, c := range w.peers {
		if c == nil {
			a := &w.req.Storages[p]
			return vocab.Errorf(vocab.Unavailable, "storage %v at %s cannot be reached", a.ID, a.Addr)
		}
	}
	if err := w.place(); err != nil { // all at home
		return err
	}
	busy := 0
	for first, more := uint64(0), true; more; {
		window, next, err := w.window(ctx, first)
		if err != nil {
			return err
		}
		n, err := w.repairWindow(ctx, window)
		if err != nil {
			return err
		}
		busy += n
		more = next > first
		first = next
	}
	if busy > 0 {
		return vocab.Errorf(vocab.Busy, "%d blocks are being written", busy)
	}
	return nil
}

// window is what all storages have of some blocks.
type window struct {
	final  vocab.Version
	blocks map[uint64][]block.Answer // by position
	broken map[uint64]bool           // a storage cannot tell what it has
}

func (w *settler) window(ctx context.Context, first uint64) (*window, uint64, error) {
	replies := make([]wire.VersionsReply, len(w.peers))
	err := w.each(ctx, w.reached(), func(ctx context.Context, p int) error {
		req := wire.BlocksRequest{Target: w.target(p), FID: w.fid, From: first}
		buf, err := w.call(ctx, p, wire.OpVersions, &req, nil, &replies[p])
		buf.Release()
		return w.took(p, replies[p].Boot, err)
	})
	if err != nil {
		return nil, 0, err
	}
	all := &window{final: w.req.Final, blocks: map[uint64][]block.Answer{}, broken: map[uint64]bool{}}
	next := uint64(0)
	for p, r := range replies {
		if r.Final.Compare(all.final) > 0 {
			all.final = r.Final
		}
		if r.Next != 0 && (next == 0 || r.Next < next) {
			next = r.Next
		}
		for _, b := range r.Blocks {
			if all.blocks[b.Block] == nil {
				all.blocks[b.Block] = make([]block.Answer, len(w.peers))
			}
			if b.Version.Absent() {
				all.broken[b.Block] = true
				continue
			}
			all.blocks[b.Block][p] = block.Answer{State: block.Present, Projection: b.Projection, Version: b.Version}
		}
	}
	return all, next, nil
}

// superfluous is what is to be discarded once the homes have all, durably: a home may have
// something that it took late and that nobody has synced.
type superfluous struct {
	position int
	block    uint64
	version  vocab.Version
}

// repairWindow repairs the blocks, and tells how many are being written.
func (w *settler) repairWindow(ctx context.Context, all *window) (busy int, err error) {
	var spare []superfluous
	wrote := false
	k := int(w.req.Placement.Geometry.Layout.Inverse)
	for b, answers := range all.blocks {
		var v vocab.Version
		for _, a := range answers {
			if a.Version.Compare(v) > 0 && (a.Version.Compare(all.final) > 0 || block.Different(answers, a.Version) >= k) {
				v = a.Version
			}
		}
		switch {
		case v.Compare(all.final) > 0:
			busy++
			continue
		case all.broken[b] && v.Absent():
			continue // nothing that can be told is to be thrown away
		}
		n, err := w.repairBlock(ctx, b, v, answers)
		if err != nil {
			return busy, err
		}
		wrote = wrote || n > 0
		for p, a := range answers {
			if a.State == block.Present && a.Version.Compare(v) <= 0 && p >= len(w.at) || a.State == block.Present && v.Absent() {
				spare = append(spare, superfluous{p, b, a.Version})
			}
		}
	}
	if wrote || len(spare) > 0 {
		if err := w.each(ctx, w.at, w.sync); err != nil {
			return busy, err
		}
	}
	for _, x := range spare {
		if err := w.discardAt(ctx, x.position, x.block, 1, x.version); err != nil {
			return busy, err
		}
	}
	w.version = all.final
	return busy, w.each(ctx, w.reached(), w.final)
}

// repairBlock writes the projections of a version that their homes lack, and tells how many.
func (w *settler) repairBlock(ctx context.Context, b uint64, v vocab.Version, answers []block.Answer) (int, error) {
	var lacking []int
	for i := range w.at {
		a := answers[i]
		if !v.Absent() && (a.Version.Compare(v) < 0 || a.Version == v && int(a.Projection) != i) {
			lacking = append(lacking, i)
		}
	}
	if len(lacking) == 0 {
		return 0, nil
	}
	payloads, used, found := make([][]byte, len(w.at)), 0, 0
	for p, a := range answers {
		if a.State != block.Present || a.Version != v || payloads[a.Projection] != nil || found == int(w.req.Placement.Geometry.Layout.Inverse) {
			continue
		}
		got, err := w.read(ctx, p, b, 1, vocab.Version{})
		if err != nil {
			return 0, err
		}
		if x := got[0]; x.state == wire.SlotPresent && x.h.Version == v {
			payloads[x.h.Projection] = x.payload
			used = int(x.h.BlockBytes)
			found++
		}
	}
	data, err := w.rebuild(payloads, used, b, v)
	if err != nil {
		return 0, err
	}
	for _, i := range lacking {
		slot := make([]byte, w.coder.SlotBytes(i, used))
		if err := w.coder.PutSlot(slot, i, block.Identity{FID: w.fid, Block: b, Version: v}, data, used); err != nil {
			return 0, vocab.Errorf(vocab.Internal, "block %d: %v", b, err)
		}
		if err := w.put(ctx, i, b, slot); err != nil {
			return 0, err
		}
	}
	return len(lacking), nil
}
