package exportd

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/stretchr/testify/require"
)

// junk is a body of random bytes, sometimes behind a good head.
type junk []byte

func (j junk) Code(c *wire.Codec) { c.Fixed(j) }

func TestHostileMessagesAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	for range 3000 {
		for op := range ops {
			if op == wire.OpCloseSession {
				continue
			}
			if rng.IntN(20) > 0 {
				continue
			}
			body := make([]byte, rng.IntN(200))
			for i := range body {
				body[i] = byte(rng.Uint32())
			}
			if len(body) > 60 && rng.IntN(3) > 0 {
				binary.LittleEndian.PutUint64(body, uint64(c.opened.Session))
				binary.LittleEndian.PutUint64(body[8:], 1000+rng.Uint64N(1<<40))
				binary.LittleEndian.PutUint64(body[16:], 0)
				binary.LittleEndian.PutUint64(body[32:], uint64([]vocab.Ino{c.root(), f.Attr.Ino}[rng.IntN(2)]))
			}
			_ = c.raw(op, junk(body), nil)
			require.NoError(t, c.conn.Err())
		}
	}
	for _, op := range []wire.Op{wire.OpRead, wire.OpRecall, 0xffff} {
		require.ErrorIs(t, c.raw(op, &wire.Empty{}, nil), vocab.NotSupported)
	}
	w.check()
}

func TestOddArgumentsAreRefused(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	f, err := c.create(c.root(), "f", wire.LeaseWrite)
	require.NoError(t, err)
	ino, epoch := f.Attr.Ino, f.Lease.Epoch
	for _, x := range []struct {
		name string
		op   wire.Op
		m    wire.Message
		want error
	}{
		{"size over the limit", wire.OpSetAttr, &wire.SetAttrRequest{Ino: ino, Mask: wire.SetSize, Size: vocab.MaxFileBytes + 1, Epoch: epoch}, vocab.TooLarge},
		{"size of a directory", wire.OpSetAttr, &wire.SetAttrRequest{Ino: c.root(), Mask: wire.SetSize}, vocab.IsDir},
		{"size without the lease", wire.OpSetAttr, &wire.SetAttrRequest{Ino: ino, Mask: wire.SetSize, Epoch: epoch + 1}, vocab.Fenced},
		{"unknown attribute", wire.OpSetAttr, &wire.SetAttrRequest{Ino: ino, Mask: 1 << 31}, vocab.Invalid},
		{"commit over the limit", wire.OpCommit, &wire.CommitRequest{Commit: wire.Commit{Ino: ino, Epoch: epoch, Size: 1 << 63}}, vocab.TooLarge},
		{"mknod of a symbolic link", wire.OpMknod, &wire.MknodRequest{Parent: c.root(), Name: "x", Mode: vocab.ModeSymlink}, vocab.Invalid},
		{"name in a file", wire.OpMknod, &wire.MknodRequest{Parent: ino, Name: "x", Mode: vocab.ModeFIFO}, vocab.NotDir},
		{"name in nothing", wire.OpMknod, &wire.MknodRequest{Parent: 1 << 60, Name: "x", Mode: vocab.ModeFIFO}, vocab.Stale},
		{"both rename flags", wire.OpRename, &wire.RenameRequest{Parent: c.root(), Name: "f", NewParent: c.root(), NewName: "g", Flags: 3}, vocab.Invalid},
		{"whiteout", wire.OpRename, &wire.RenameRequest{Parent: c.root(), Name: "f", NewParent: c.root(), NewName: "g", Flags: 4}, vocab.Invalid},
		{"no entries", wire.OpReaddir, &wire.ReaddirRequest{Ino: c.root()}, vocab.Invalid},
		{"listing a file", wire.OpReaddir, &wire.ReaddirRequest{Ino: ino, Max: 1}, vocab.NotDir},
		{"lease of no kind", wire.OpOpen, &wire.OpenRequest{Ino: ino, Want: 9}, vocab.Invalid},
		{"readlink of a file", wire.OpReadlink, &wire.InoRequest{Ino: ino}, vocab.Invalid},
		{"link to a directory", wire.OpLink, &wire.LinkRequest{Ino: c.root(), Parent: c.root(), Name: "x"}, vocab.NotPermitted},
	} {
		t.Run(x.name, func(t *testing.T) {
			setHead(x.m, c.change())
			require.ErrorIs(t, c.raw(x.op, x.m, nil), x.want)
		})
	}
	w.check()
}

func setHead(m wire.Message, h wire.Head) {
	switch m := m.(type) {
	case *wire.SetAttrRequest:
		m.Head = h
	case *wire.CommitRequest:
		m.Head = h
	case *wire.MknodRequest:
		m.Head = h
	case *wire.RenameRequest:
		m.Head = h
	case *wire.ReaddirRequest:
		m.Head = h
	case *wire.OpenRequest:
		m.Head = h
	case *wire.InoRequest:
		m.Head = h
	case *wire.LinkRequest:
		m.Head = h
	}
}

// FuzzRecords: whatever lies under a key decodes or is refused.
func FuzzRecords(f *testing.F) {
	f.Add(encode(&inode{attr: vocab.Attr{Ino: 3, Mode: vocab.ModeRegular}}))
	f.Add(encode(&slot{name: "n", ino: 3}))
	f.Add(encode(&outcome{op: 3, reply: []byte("abc")}))
	f.Add(encode(&sessionRecord{name: "host"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []wire.Message{
			new(identity), new(counters), new(exportRecord), new(inode), new(slot), new(sessionRecord), new(leaseRecord), new(storageRecord), new(outcome), new(deletionRecord), new(taskRecord),
		} {
			if err := decode([]byte("k"), data, m); err != nil {
				require.ErrorIs(t, err, vocab.Corrupt)
				continue
			}
			again := encode(m)
			require.NoError(t, decode([]byte("k"), again, m))
			require.Equal(t, again, encode(m))
		}
		parseFileKey(data)
		parseDirentKey(data)
		parseStorageKey(data)
	})
}

func TestMetadataDirectoryIsGuarded(t *testing.T) {
	w := newWorld(t)
	_, err := New(w.cfg)
	require.ErrorContains(t, err, "another exportd")
	w.stop()
	try := func(change func(*Config)) error {
		cfg := w.cfg
		cfg.Volumes = append([]Volume(nil), cfg.Volumes...)
		cfg.Exports = append([]Export(nil), cfg.Exports...)
		change(&cfg)
		s, err := New(cfg)
		if err == nil {
			require.NoError(t, s.Close())
		}
		return err
	}
	require.ErrorContains(t, try(func(c *Config) { c.Cluster = vocab.ClusterID{1} }), "belongs to cluster")
	require.ErrorContains(t, try(func(c *Config) { c.Volumes[0].VID = 9; c.Exports[0].VID = 9; c.Exports[1].VID = 9 }), "lies on volume 1")
	require.NoError(t, try(func(c *Config) { c.Exports = c.Exports[:1] }))
	require.NoError(t, w.cfg.FS.MkdirAll("other", 0o755))
	file, err := w.cfg.FS.Create("other/photo.jpg", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.ErrorContains(t, try(func(c *Config) { c.Dir = "other" }), "photo.jpg")

	st, err := openStore(w.cfg.Dir, w.cfg.FS, vocab.ClusterID{}, 1<<20, slog.New(slog.DiscardHandler), false)
	require.NoError(t, err)
	st.identity.format = formatVersion + 1
	require.NoError(t, errors.Join(st.db.Set(identityKey(), encode(&st.identity), pebble.Sync), st.close()))
	require.ErrorContains(t, try(func(*Config) {}), "upgrade exportd")
	require.NotEmpty(t, checkDirectoryOn(context.Background(), w.cfg.Dir, w.cfg.FS))
}

func TestCheckFindsDamage(t *testing.T) {
	w := newWorld(t)
	c := w.client("one")
	d, err := c.mkdir(c.root(), "d")
	require.NoError(t, err)
	f, err := c.create(d.Ino, "f", wire.LeaseNone)
	require.NoError(t, err)
	w.check()
	for name, damage := range map[string]func(*pebble.Batch) error{
		"lost inode": func(b *pebble.Batch) error { return b.Delete(fileKey(prefixInode, 1, f.Attr.Ino), nil) },
		"lost name":  func(b *pebble.Batch) error { return b.Delete(direntKey(1, d.Ino, hashName("f")<<cookieBits), nil) },
		"wrong name": func(b *pebble.Batch) error {
			return b.Set(direntKey(1, d.Ino, 5<<cookieBits), encode(&slot{name: "g", ino: 4}), nil)
		},
		"junk record": func(b *pebble.Batch) error { return b.Set(fileKey(prefixInode, 1, d.Ino), []byte{7}, nil) },
		"junk key":    func(b *pebble.Batch) error { return b.Set([]byte("Ixyz"), nil, nil) },
		"orphan":      func(b *pebble.Batch) error { return b.Set(fileKey(prefixOrphan, 1, d.Ino), nil, nil) },
		"lease": func(b *pebble.Batch) error {
			return b.Set(fileKey(prefixLease, 1, d.Ino), encode(&leaseRecord{99, 1 << 60}), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.srv.db.NewIndexedBatch()
			require.NoError(t, damage(b))
			k := checker{ctx: context.Background(), r: b, hash: hashName, incarnation: 1}
			k.run()
			require.NotEmpty(t, k.found)
			require.NoError(t, b.Close())
		})
	}
}
