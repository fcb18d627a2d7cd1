package conf

import (
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// LoadExport reads and checks an export.conf. Warnings are lines of text as in [Problems]; they come with an error too.
// The error joins an *[Error] for each problem; the configuration is nil then.
func LoadExport(file string) (e *Export, warnings []string, err error) {
	data, err := readFile(file)
	if err != nil {
		return nil, nil, err
	}
	return ParseExport(file, data)
}

// ParseExport is LoadExport for the content of a file; name is its name in messages.
func ParseExport(name string, data []byte) (e *Export, warnings []string, err error) {
	var out, warn problems
	root := parse(name, data, &out)
	r := exportReader{
		fields: &fields{group: root, what: "the file", out: &out, warn: &warn},
		vids:   unique{}, eids: unique{}, roots: unique{}, names: map[string]vocab.EID{}, servers: unique{},
	}
	e = r.read()
	if err = out.err(name); err != nil {
		e = nil
	}
	return e, warn.lines(), err
}

// exportReader turns the tree into an Export.
type exportReader struct {
	*fields
	layoutKnown       bool // the default layout could be read
	vids, eids, roots unique
	servers           unique // host, port, cid and sid in the whole file
	names             map[string]vocab.EID
	unknownVID        bool // a volume, or the vid of one, could not be read
}

func (r *exportReader) read() *Export {
	e := &Export{Listen: DefaultListen, Meta: DefaultMeta}
	e.Layout, _ = vocab.ParseLayout(defaultLayoutText)
	r.layoutKnown = r.group.Lookup("layout") == nil
	if v := r.has("layout"); v != nil {
		e.Layout, r.layoutKnown = r.layout("layout", v)
	}
	if v := r.has("listen"); v != nil {
		if s, ok := r.str("listen", v); ok && !isHostPort(s, true) {
			r.bad("listen", v, `"HOST:PORT", where * is every address`)
		} else if ok {
			e.Listen = s
		}
	}
	if v := r.has("meta"); v != nil {
		e.Meta = r.path("meta", v)
	}
	if v := r.has("cluster"); v != nil {
		e.Cluster = r.cluster("cluster", v)
	}
	e.LeaseTerm = time.Second * time.Duration(r.integer("lease_term",
		int64(MinLeaseTerm/time.Second), int64(MaxLeaseTerm/time.Second), int64(DefaultLeaseTerm/time.Second)))
	e.ScrubDays = int(r.integer("scrub_days", 0, MaxScrubDays, DefaultScrubDays))
	e.ScrubRate = uint64(r.integer("scrub_rate", 1, maxScrubMiB, DefaultScrubRate>>20)) << 20
	for _, f := range r.groups("volumes", "a volume") {
		e.Volumes = append(e.Volumes, r.volume(f, e.Layout))
	}
	r.unknownVID = r.unknownVID || r.partial("volumes")
	for _, f := range r.groups("exports", "an export") {
		e.Exports = append(e.Exports, r.export(f))
	}
	r.done()
	return e
}

// cluster reads the cluster identity.
func (r *exportReader) cluster(key string, v *Value) (id vocab.ClusterID) {
	s, ok := r.str(key, v)
	if !ok {
		return id
	}
	if d := strings.Split(s, "-"); len(d) == 5 && len(d[0]) == 8 && len(d[1]) == 4 && len(d[2]) == 4 && len(d[3]) == 4 {
		s = strings.Join(d, "") // the form of a UUID
	}
	id, err := vocab.ParseClusterID(s)
	if err != nil || id == (vocab.ClusterID{}) {
		r.bad(key, v, "32 hexadecimal digits, with the dashes of a UUID or without, not all 0")
	}
	return id
}

func (r *exportReader) volume(f *fields, byDefault vocab.Layout) Volume {
	vol := Volume{VID: vocab.VID(f.id("vid", math.MaxUint16)), Layout: byDefault, Pos: f.group.Pos}
	if vol.VID == 0 {
		r.unknownVID = true
	} else {
		r.vids.claim(f.out, f.group.Lookup("vid").Pos, "vid %d", vol.VID)
	}
	known, at := r.layoutKnown, f.group.Pos
	if v := f.has("layout"); v != nil {
		vol.Layout, known = f.layout("layout", v)
		at = v.Pos
	}
	if warning := vol.Layout.Warning(); known && warning != "" {
		f.warn.add(at, "volume %s: %s", idText(vol.VID), warning)
	}
	cids := unique{}
	for _, g := range f.groups("cids", "a cluster") {
		c := Cluster{CID: vocab.CID(g.id("cid", math.MaxUint16)), Pos: g.group.Pos}
		if c.CID != 0 {
			cids.claim(g.out, g.group.Lookup("cid").Pos, "cid %d of volume %s", c.CID, idText(vol.VID))
		}
		c.Storages = r.members(g, c.CID)
		if have, want := len(c.Storages), int(vol.Layout.Safe); known && have < want && !g.partial("sids") {
			g.out.add(g.group.Lookup("sids").Pos, "cluster %s of volume %s has %d of the %d sids that layout %s needs at least: add %d, or choose a smaller layout",
				idText(c.CID), idText(vol.VID), have, want, vol.Layout, want-have)
		}
		g.done()
		vol.Clusters = append(vol.Clusters, c)
	}
	f.done()
	return vol
}

// members reads the sids of a cluster.
func (r *exportReader) members(cluster *fields, cid vocab.CID) []Member {
	var all []Member
	sids := unique{}
	for _, f := range cluster.groups("sids", "a storage") {
		m := Member{SID: vocab.SID(f.id("sid", math.MaxUint8)), Pos: f.group.Pos}
		m.Host = f.host("host", f.need("host", `"NAME OR ADDRESS"`))
		m.Port = int(f.integer("port", 1, math.MaxUint16, DefaultDataPort))
		m.Site = f.site("site")
		m.Outer = f.outer("outer")
		if m.SID != 0 {
			at := f.group.Lookup("sid").Pos
			first := sids.claim(f.out, at, "sid %d of cluster %s", m.SID, idText(cid))
			if first && m.Host != "" && cid != 0 {
				r.servers.claim(f.out, at, "cid %d, sid %d on %s", cid, m.SID, m.Addr())
			}
		}
		f.done()
		all = append(all, m)
	}
	cluster.ignored("admin")
	return all
}

func (r *exportReader) export(f *fields) ExportEntry {
	x := ExportEntry{EID: vocab.EID(f.id("eid", MaxEID)), Pos: f.group.Pos}
	if x.EID != 0 {
		r.eids.claim(f.out, f.group.Lookup("eid").Pos, "eid %d", x.EID)
	}
	if v := f.need("root", `"/ABSOLUTE/PATH"`); v != nil {
		if x.Root = f.path("root", v); x.Root != "" {
			r.roots.claim(f.out, v.Pos, "root %q", x.Root)
		}
	}
	r.name(f, &x)
	if v := f.has("md5"); v != nil {
		if x.MD5, _ = f.str("md5", v); x.MD5 != "" {
			f.warn.add(v.Pos, "md5 protects nothing: clients are not authenticated yet; set it to \"\"")
		}
	}
	x.SoftQuota, x.HardQuota = f.quota("squota"), f.quota("hquota")
	if x.HardQuota > 0 && x.SoftQuota > x.HardQuota {
		f.warn.add(f.group.Lookup("squota").Pos, "squota is above hquota and will never be reached")
	}
	if x.VID = vocab.VID(f.id("vid", math.MaxUint16)); x.VID != 0 && !r.unknownVID {
		if _, exists := r.vids["vid "+strconv.Itoa(int(x.VID))]; !exists {
			f.out.add(f.group.Lookup("vid").Pos, "vid %d is not among the volumes", x.VID)
		}
	}
	x.BlockSize = f.blockBytes("bsize")
	x.Systematic = f.flag("systematic")
	if v := f.has("filter"); v != nil {
		if x.FilterName = f.label("filter", v); x.FilterName != "" {
			f.warn.add(v.Pos, "filter keeps nobody out: every client that reaches exportd may mount; delete it")
		}
	}
	f.ignored("flockp")
	f.done()
	return x
}

// name reads the name of an export. Two may share one, because old files do without knowing: then only their roots tell
// them apart.
func (r *exportReader) name(f *fields, x *ExportEntry) {
	at := f.group.Pos
	v := f.has("name")
	if v != nil {
		at, x.Name = v.Pos, f.label("name", v)
	}
	if x.Name == "" && x.Root != "" {
		x.Name = path.Base(x.Root)
	}
	if x.Name == "" {
		return
	}
	if first, twice := r.names[x.Name]; twice {
		f.warn.add(at, "exports %s and %s are both named %s: mount them by their roots, or give each a name", idText(first), idText(x.EID), quoteShort(x.Name))
		return
	}
	r.names[x.Name] = x.EID
}
