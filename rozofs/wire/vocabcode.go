package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// Codes of the vocabulary's compound types.

func codeStorageID(c *Codec, s *vocab.StorageID) {
	U16(c, &s.CID)
	U8(c, &s.SID)
}

func codeVersion(c *Codec, v *vocab.Version) {
	U64(c, &v.Epoch)
	U64(c, &v.Counter)
}

// CodeGeometry is also used in stored inodes.
func CodeGeometry(c *Codec, g *vocab.Geometry) {
	U8(c, &g.Layout.Inverse)
	U8(c, &g.Layout.Forward)
	U8(c, &g.Layout.Safe)
	c.Bool(&g.Systematic)
	U8(c, &g.ElementBytes)
	U32(c, &g.BlockBytes)
}

// CodeDistribution is also used in stored inodes.
func CodeDistribution(c *Codec, d *vocab.Distribution) {
	U16(c, &d.CID)
	U32(c, &d.Generation)
	Slice(c, &d.SIDs, vocab.MaxSafe, 1, U8[vocab.SID])
}

// CodePlacement is also used in stored inodes.
func CodePlacement(c *Codec, p *vocab.Placement) {
	c.Fixed(p.FID[:])
	CodeGeometry(c, &p.Geometry)
	CodeDistribution(c, &p.Distribution)
}

// CodeAttr is also used in stored inodes.
func CodeAttr(c *Codec, a *vocab.Attr) {
	U64(c, &a.Ino)
	U32(c, &a.Generation)
	U32(c, &a.Mode)
	U32(c, &a.Nlink)
	U32(c, &a.UID)
	U32(c, &a.GID)
	U32(c, &a.Rdev)
	U64(c, &a.Size)
	U64(c, &a.Atime)
	U64(c, &a.Mtime)
	U64(c, &a.Ctime)
}
