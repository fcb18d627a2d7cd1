package rozofsmount

import (
	"context"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// pageEntries is how many entries are fetched at once.
const pageEntries = 1024

// emptyPages bounds how often a page without entries, all of which were removed
// while it was made, is asked for again.
const emptyPages = 16

// Offsets in a directory are those after an entry: 0 is the start, 1 comes
// after ".", 2 after ".." and cookie + 2 after an entry of exportd's. Cookies
// are never 0 and stable, so any offset may be returned to at any time
// (seekdir). The kernel passes 64 bits through when it reads on, but lseek, and
// so seekdir, refuses offsets over 2^63-1: cookies should stay below 2^63-2.
const (
	offsetDot    = 1
	offsetDotDot = 2
	cookieShift  = 2
)

// dir is an open directory. It keeps the page last fetched, since the kernel
// asks for less than a page at a time.
type dir struct {
	ino vocab.Ino

	mu   sync.Mutex // guards page, also while it is fetched: others want the same page
	page page
}

// page is a run of entries after a cookie.
type page struct {
	valid bool
	plus  bool
	after uint64
	reply wire.ReaddirReply
	asked time.Time // since when its attributes may have changed
}

// from returns the index of the first entry after cookie; false when the page
// cannot tell.
func (p *page) from(cookie uint64) (int, bool) {
	if !p.valid {
		return 0, false
	}
	if cookie == p.after {
		return 0, true
	}
	for i := range p.reply.Entries {
		if p.reply.Entries[i].Cookie == cookie {
			return i + 1, true
		}
	}
	return 0, false
}

// OpenDir begins a listing.
func (f *face) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ino := f.ino(in.NodeId)
	fh, err := f.dirs.add(&dir{ino: ino})
	if err != nil {
		return f.fail("opendir", ino, err)
	}
	out.Fh = fh
	return fuse.OK
}

// ReleaseDir ends a listing.
func (f *face) ReleaseDir(in *fuse.ReleaseIn) { f.dirs.remove(in.Fh) }

// FsyncDir has nothing to do: exportd answers a change of names when it is durable.
func (f *face) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// ReadDir lists names.
func (f *face) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, false, func(e *fuse.DirEntry, _ *vocab.Attr, _ time.Duration) (bool, fuse.Status) {
		return out.AddDirEntry(*e), fuse.OK
	})
}

// ReadDirPlus lists names with attributes. The kernel asks for it only when it
// may keep them, see Options.mountOptions.
func (f *face) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(cancel, in, true, func(e *fuse.DirEntry, attr *vocab.Attr, age time.Duration) (bool, fuse.Status) {
		entry := out.AddDirLookupEntry(*e)
		if entry == nil || attr == nil { // full; or "." and "..", which stay without
			return entry != nil, fuse.OK
		}
		return true, f.entryAged(entry, attr, age)
	})
}

// emit adds an entry to the reply; false when it is full.
type emit func(e *fuse.DirEntry, attr *vocab.Attr, age time.Duration) (bool, fuse.Status)

func (f *face) readDir(cancel <-chan struct{}, in *fuse.ReadIn, plus bool, add emit) fuse.Status {
	d, ok := f.dirs.get(in.Fh)
	if !ok {
		return statusBadHandle
	}
	ctx, end := f.begin(cancel, in.Pid)
	defer end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.Offset == 0 {
		d.page.valid = false // rewinddir shows what has changed
	}
	cookie := uint64(0)
	if in.Offset > offsetDotDot {
		cookie = in.Offset - cookieShift
	}
	first, err := f.seek(ctx, d, cookie, plus)
	if err != nil {
		return f.failInode("readdir", d.ino, err)
	}
	if in.Offset < offsetDotDot {
		if full, st := d.dots(in.Offset, add); full || !st.Ok() {
			return st
		}
	}
	return f.entries(d, first, add)
}

// dots adds "." and "..".
func (d *dir) dots(offset uint64, add emit) (full bool, st fuse.Status) {
	parent := d.page.reply.Parent
	if parent == 0 {
		parent = d.ino
	}
	for _, e := range []fuse.DirEntry{
		{Name: ".", Ino: uint64(d.ino), Mode: vocab.ModeDir, Off: offsetDot},
		{Name: "..", Ino: uint64(parent), Mode: vocab.ModeDir, Off: offsetDotDot},
	} {
		if e.Off <= offset {
			continue
		}
		if ok, st := add(&e, nil, 0); !ok || !st.Ok() {
			return !ok, st
		}
	}
	return false, fuse.OK
}

// seek makes d.page the one that goes on after cookie, and returns where in it.
func (f *face) seek(ctx context.Context, d *dir, cookie uint64, plus bool) (int, error) {
	i, ok := d.page.from(cookie)
	atEnd := i == len(d.page.reply.Entries)
	if ok && (!atEnd || d.page.reply.Last) && (!plus || d.page.plus) {
		return i, nil
	}
	for range emptyPages {
		asked := time.Now()
		reply, err := f.fs.ReadDir(ctx, d.ino, cookie, pageEntries, plus)
		if err != nil {
			return 0, err
		}
		if len(reply.Entries) > 0 || reply.Last {
			d.page = page{valid: true, plus: plus, after: cookie, reply: reply, asked: asked}
			return 0, nil
		}
	}
	return 0, vocab.Errorf(vocab.Protocol, "exportd answered a listing with nothing, though it goes on, %d times", emptyPages)
}

// entries adds those of the page, from the first on. It ends with the page even
// when more would fit: the kernel comes again.
func (f *face) entries(d *dir, first int, add emit) fuse.Status {
	age := time.Since(d.page.asked)
	list := d.page.reply.Entries
	for i := first; i < len(list); i++ {
		e := &list[i]
		if e.Cookie == 0 || e.Cookie > ^uint64(0)-cookieShift {
			return f.fail("readdir", d.ino, vocab.Errorf(vocab.Protocol, "exportd gave the entry %q the cookie %d", e.Name, e.Cookie))
		}
		ok, st := add(&fuse.DirEntry{Name: e.Name, Ino: uint64(e.Attr.Ino), Mode: e.Attr.Mode, Off: e.Cookie + cookieShift}, &e.Attr, age)
		if !st.Ok() {
			return st
		}
		if !ok {
			break
		}
	}
	return fuse.OK
}
