package conf

import (
	"errors"
	"io/fs"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Bounds and default of threads in storage.conf.
const (
	DefaultThreads = 4
	MaxThreads     = 1024
)

// Storage is storage.conf, checked, with defaults filled in. Two of them say the same when their Format is equal.
type Storage struct {
	Threads  int           // requests that are worked on at once on one storage
	Listen   []Listen      // at least one
	Storages []StorageRoot // at least one
}

// Listen is an address that storaged serves.
type Listen struct {
	Addr string // IP address or host name; * is every address
	Port int
	Pos  Pos
}

// HostPort gives host:port for net.Listen, where an empty host is every address.
func (l *Listen) HostPort() string {
	return net.JoinHostPort(strings.TrimPrefix(l.Addr, "*"), strconv.Itoa(l.Port))
}

// StorageRoot is the directory of one storage.
type StorageRoot struct {
	CID  vocab.CID
	SID  vocab.SID
	Root string // absolute path; no root lies inside another
	Pos  Pos
}

// LoadStorage reads and checks a storage.conf. It looks at no root. The error joins an *[Error] for each problem; the
// configuration is nil then.
func LoadStorage(file string) (*Storage, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return ParseStorage(file, data)
}

// LoadStorageWithRoots is LoadStorage for who is about to serve: what CheckRoots finds is among the problems.
func LoadStorageWithRoots(file string) (*Storage, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseStorage(file, data, (*Storage).missingRoots)
}

// ParseStorage is LoadStorage for the content of a file; name is its name in messages.
func ParseStorage(name string, data []byte) (*Storage, error) {
	return parseStorage(name, data, func(*Storage) []*Error { return nil })
}

// parseStorage adds what more finds to the problems. What more is given may lack what could not be read.
func parseStorage(name string, data []byte, more func(*Storage) []*Error) (*Storage, error) {
	var out, warn problems
	root := parse(name, data, &out)
	s := readStorage(&fields{group: root, what: "the file", out: &out, warn: &warn})
	for _, e := range more(s) {
		out.put(e)
	}
	if err := out.err(name); err != nil {
		return nil, err
	}
	return s, nil
}

func readStorage(f *fields) *Storage {
	s := &Storage{Threads: int(f.integer("threads", 1, MaxThreads, DefaultThreads))}
	for _, g := range f.groups("listen", "a listen address") {
		s.Listen = append(s.Listen, readListen(g))
		g.done()
	}
	checkListen(f.out, s.Listen)
	ids := unique{}
	for _, g := range f.groups("storages", "a storage") {
		r := StorageRoot{CID: vocab.CID(g.id("cid", math.MaxUint16)), SID: vocab.SID(g.id("sid", math.MaxUint8)), Pos: g.group.Pos}
		if r.CID != 0 && r.SID != 0 {
			ids.claim(g.out, g.group.Lookup("sid").Pos, "cid %d, sid %d", r.CID, r.SID)
		}
		if v := g.need("root", `"/ABSOLUTE/PATH"`); v != nil {
			r.Root, r.Pos = g.path("root", v), v.Pos
		}
		g.done()
		s.Storages = append(s.Storages, r)
	}
	checkNesting(f.out, s.Storages)
	f.notEmpty("listen", `{ addr = "*"; port = 41001; }`)
	f.notEmpty("storages", `{ cid = 1; sid = 1; root = "/ABSOLUTE/PATH"; }`)
	f.done()
	return s
}

func readListen(g *fields) Listen {
	l := Listen{Pos: g.group.Pos}
	if v := g.need("addr", `"*"`); v != nil {
		if s, ok := g.str("addr", v); ok && s != "*" && !isHost(s) {
			g.bad("addr", v, `"*" for every address, an IP address or a host name`)
		} else {
			l.Addr = s
		}
	}
	l.Port = int(g.integer("port", 1, math.MaxUint16, DefaultDataPort))
	return l
}

// checkListen finds addresses of which one would keep the other from being bound.
func checkListen(out *problems, all []Listen) {
	used, any := unique{}, map[int]Pos{}
	for _, l := range all {
		if l.Addr == "*" {
			any[l.Port] = l.Pos
		}
	}
	for _, l := range all {
		if l.Addr == "" {
			continue
		}
		used.claim(out, l.Pos, "listen address %s, port %d", l.Addr, l.Port)
		if at, covered := any[l.Port]; covered && l.Addr != "*" {
			out.add(l.Pos, "address %s, port %d is covered by \"*\" at line %d: delete one", l.Addr, l.Port, at.Line)
		}
	}
}

// checkNesting finds roots that are equal or lie inside another: one storage would take the other's files for its own.
func checkNesting(out *problems, all []StorageRoot) {
	sorted := slices.DeleteFunc(slices.Clone(all), func(r StorageRoot) bool { return r.Root == "" })
	slices.SortStableFunc(sorted, func(a, b StorageRoot) int { return strings.Compare(a.Root+"/", b.Root+"/") })
	for i := 1; i < len(sorted); i++ {
		outer, r := sorted[i-1], sorted[i]
		switch {
		case r.Root == outer.Root:
			out.add(r.Pos, "root %s is used twice, first at line %d", quoteShort(r.Root), outer.Pos.Line)
		case strings.HasPrefix(r.Root, outer.Root+"/"):
			out.add(r.Pos, "root %s lies inside root %s of line %d: storages need directories of their own",
				quoteShort(r.Root), quoteShort(outer.Root), outer.Pos.Line)
		default:
			continue
		}
		sorted[i] = outer // the next one may lie inside it too
	}
}

// Validate finds what ParseStorage would find in the Format of s; positions are lines of that text.
func (s *Storage) Validate() error {
	_, err := ParseStorage("storage.conf", s.Format())
	return err
}

// CheckRoots tells which roots are no directories. That a directory is the right one, and not the mount point of a disk
// that is missing, is for the storage itself to see.
func (s *Storage) CheckRoots() error {
	var errs []error
	for _, e := range s.missingRoots() {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

func (s *Storage) missingRoots() []*Error {
	var all []*Error
	for _, r := range s.Storages {
		if r.Root == "" {
			continue // a problem already
		}
		info, err := os.Stat(r.Root)
		problem := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problem = "does not exist: create it, or mount its disk"
		case err != nil:
			problem = "cannot be used: " + cause(err).Error()
		case !info.IsDir():
			problem = "is not a directory: name one"
		default:
			continue
		}
		all = append(all, &Error{
			File: r.Pos.File, Line: r.Pos.Line, Column: r.Pos.Column,
			Problem: "root " + quoteShort(r.Root) + " " + problem, Err: err,
		})
	}
	return all
}
