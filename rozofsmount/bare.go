package rozofsmount

import (
	"sync"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

const (
	bareTerm = 50 * time.Millisecond // that a file is remembered, and at most twice that
	maxBare  = 1 << 14               // files remembered in a term
)

// bareFiles remembers for a moment which files have no extended attributes. Walking a path
// for anyone but the owner of its directories, the kernel asks for the ACL of each right after
// it was told its attributes, and these say that there is none. So the answer is as
// new as the permission bits beside which it counts; only to fgetxattr, before which nothing
// is asked, may what another mount has just set show that much late.
type bareFiles struct {
	mu         sync.Mutex // guards all below
	term       time.Duration
	young, old map[vocab.Ino]struct{}
	turned     time.Time // when young was begun
	changes    uint64    // counts changes of extended attributes through this mount
}

// asking is called before attributes are asked for; told needs what it returns.
func (b *bareFiles) asking() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes
}

// told takes over what attributes say, unless some were changed since they were asked for.
func (b *bareFiles) told(a *vocab.Attr, asked uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	if a.Mode&vocab.ModeXattr != 0 {
		delete(b.young, a.Ino)
		delete(b.old, a.Ino)
	} else if asked == b.changes && len(b.young) < maxBare {
		b.young[a.Ino] = struct{}{}
	}
}

// turn forgets what is old.
func (b *bareFiles) turn() {
	now := time.Now()
	switch age := now.Sub(b.turned); {
	case age < b.term:
		return
	case age < 2*b.term:
		b.old = b.young
	default:
		b.old = nil
	}
	b.young, b.turned = map[vocab.Ino]struct{}{}, now
}

func (b *bareFiles) has(ino vocab.Ino) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	_, young := b.young[ino]
	_, old := b.old[ino]
	return young || old
}

// changed is called when extended attributes of a file were changed, or may have been.
func (b *bareFiles) changed(ino vocab.Ino) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	delete(b.young, ino)
	delete(b.old, ino)
}
