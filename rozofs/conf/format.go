package conf

import (
	"fmt"
	"strings"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// printer writes settings, one a line, groups indented.
type printer struct {
	strings.Builder
	indent int
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p, strings.Repeat("  ", p.indent)+format+"\n", args...)
}

// text writes a setting unless it is empty.
func (p *printer) text(key, value string) {
	if value != "" {
		p.line("%s = %s;", key, quote(value))
	}
}

// list writes a list of n groups.
func (p *printer) list(key string, n int, member func(i int)) {
	if n == 0 {
		p.line("%s = ( );", key)
		return
	}
	p.line("%s = (", key)
	p.indent++
	for i := range n {
		p.line("{")
		p.indent++
		member(i)
		p.indent--
		p.line("%s", map[bool]string{true: "}", false: "},"}[i == n-1])
	}
	p.indent--
	p.line(");")
}

// layout writes a layout by its number if it has one.
func (p *printer) layout(l vocab.Layout) {
	for n := range 3 {
		if known, _ := vocab.LayoutByNumber(n); known == l {
			p.line("layout = %d;", n)
			return
		}
	}
	p.text("layout", l.String())
}

// Format writes e as text that ParseExport reads back to the same value, positions apart. The text is canonical: equal
// configurations give equal bytes. Empty fields are left out and get their defaults when read.
func (e *Export) Format() []byte {
	var p printer
	if e.Layout != (vocab.Layout{}) {
		p.layout(e.Layout)
	}
	p.text("listen", e.Listen)
	p.text("meta", e.Meta)
	if e.Cluster != (vocab.ClusterID{}) {
		p.text("cluster", e.Cluster.String())
	}
	if e.LeaseTerm != 0 {
		p.line("lease_term = %d;", e.LeaseTerm/time.Second)
	}
	if e.ScrubRate != 0 {
		p.line("scrub_days = %d;", e.ScrubDays)
		p.line("scrub_rate = %d;", e.ScrubRate>>20)
	}
	p.list("volumes", len(e.Volumes), func(i int) { p.volume(&e.Volumes[i]) })
	p.list("exports", len(e.Exports), func(i int) { p.export(&e.Exports[i]) })
	return []byte(p.String())
}

func (p *printer) volume(v *Volume) {
	p.line("vid = %d;", v.VID)
	if v.Layout != (vocab.Layout{}) {
		p.layout(v.Layout)
	}
	p.list("cids", len(v.Clusters), func(i int) {
		c := &v.Clusters[i]
		p.line("cid = %d;", c.CID)
		if len(c.Storages) == 0 {
			p.line("sids = ( );")
			return
		}
		p.line("sids = (")
		p.indent++
		for j := range c.Storages {
			p.member(&c.Storages[j], j == len(c.Storages)-1)
		}
		p.indent--
		p.line(");")
	})
}

// member writes a storage on one line: a cluster has many, and they are compared by eye.
func (p *printer) member(m *Member, last bool) {
	s := fmt.Sprintf("{ sid = %d; host = %s;", m.SID, quote(m.Host))
	if m.Port != 0 {
		s += fmt.Sprintf(" port = %d;", m.Port)
	}
	if m.Site != "" {
		s += " site = " + quote(m.Site) + ";"
	}
	if m.Outer != "" {
		s += " outer = " + quote(m.Outer) + ";"
	}
	p.line("%s", s+map[bool]string{true: " }", false: " },"}[last])
}

func (p *printer) export(x *ExportEntry) {
	p.line("eid = %d;", x.EID)
	p.text("name", x.Name)
	p.line("root = %s;", quote(x.Root))
	p.line("md5 = %s;", quote(x.MD5))
	p.line("squota = %s;", quote(formatSize(x.SoftQuota)))
	p.line("hquota = %s;", quote(formatSize(x.HardQuota)))
	p.line("vid = %d;", x.VID)
	if x.BlockSize != 0 {
		p.line("bsize = %s;", quote(formatSize(uint64(x.BlockSize))))
	}
	if x.Systematic {
		p.line("systematic = true;")
	}
	p.text("filter", x.FilterName)
}

// Format writes s as text that ParseStorage reads back to the same value, positions apart; see [Export.Format].
func (s *Storage) Format() []byte {
	var p printer
	if s.Threads != 0 {
		p.line("threads = %d;", s.Threads)
	}
	p.list("listen", len(s.Listen), func(i int) {
		p.line("addr = %s;", quote(s.Listen[i].Addr))
		if s.Listen[i].Port != 0 {
			p.line("port = %d;", s.Listen[i].Port)
		}
	})
	p.list("storages", len(s.Storages), func(i int) {
		p.line("cid = %d;", s.Storages[i].CID)
		p.line("sid = %d;", s.Storages[i].SID)
		p.line("root = %s;", quote(s.Storages[i].Root))
	})
	return []byte(p.String())
}
