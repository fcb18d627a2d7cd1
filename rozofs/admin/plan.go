package admin

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/conf"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// The programs, which are also the roles of daemons.
const (
	RoleExportd  = "exportd"
	RoleStoraged = "storaged"
	RoleMount    = "rozofsmount"
)

// The cluster has one of each.
const (
	theCID vocab.CID = 1
	theVID vocab.VID = 1
	theEID vocab.EID = 1
)

const (
	loopback   = "127.0.0.1"
	exportRoot = "/srv/rozofs/exports/" // under which exports have their roots, as in RozoFS
)

// Daemon is one process of the cluster.
type Daemon struct {
	Name    string    // exportd, storaged-N or rozofsmount
	Role    string    // RoleExportd, RoleStoraged or RoleMount
	SID     vocab.SID // of a storaged, else 0
	Addr    string    // host:port that it serves; "" of rozofsmount
	Args    []string  // without the program
	Conf    string    // its configuration file; "" of rozofsmount
	Log     string    // file
	pidFile string
}

// Daemons lists the cluster's daemons: exportd, the storaged by sid, rozofsmount.
func (c *Cluster) Daemons() []Daemon {
	r := c.Record
	all := []Daemon{c.daemon(RoleExportd, 0, r.ExportdPort)}
	for _, s := range r.Storages {
		all = append(all, c.daemon(RoleStoraged, s.SID, s.Port))
	}
	return append(all, c.daemon(RoleMount, 0, 0))
}

func (c *Cluster) daemon(role string, sid vocab.SID, port int) Daemon {
	d := Daemon{Name: role, Role: role, SID: sid}
	if port != 0 {
		d.Addr = hostPort(port)
	}
	switch role {
	case RoleExportd:
		d.Conf = c.path("export.conf")
		d.Args = []string{"-c", d.Conf}
	case RoleStoraged:
		d.Name = fmt.Sprintf("%s-%d", role, sid)
		d.Conf = c.path(fmt.Sprintf("storage-%d.conf", sid))
		d.Args = []string{"-c", d.Conf, "-H", loopback}
	case RoleMount:
		d.Args = []string{"-f", "-H", hostPort(c.Record.ExportdPort), "-E", exportRoot + c.Record.Export, c.Record.Mount}
	}
	d.Log = c.path("log", d.Name+".log")
	d.pidFile = c.path("run", d.Name+".pid")
	return d
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// byRole gives the daemons of one role.
func (c *Cluster) byRole(role string) []Daemon {
	return slices.DeleteFunc(c.Daemons(), func(d Daemon) bool { return d.Role != role })
}

// named finds a daemon, or gives a UsageError that lists the names.
func (c *Cluster) named(name string) (Daemon, error) {
	var names []string
	for _, d := range c.Daemons() {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return Daemon{}, usagef("%q is no daemon of the cluster in %s: want one of %s", name, c.Dir, strings.Join(names, ", "))
}

func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

func (c *Cluster) storageRoot(sid vocab.SID) string { return c.path(fmt.Sprintf("storage_%d", sid)) }

// exportConf is what export.conf says when a cluster is made.
func (c *Cluster) exportConf() *conf.Export {
	r := c.Record
	e := &conf.Export{
		Layout: r.layout(), Listen: hostPort(r.ExportdPort), Meta: c.path("meta"), Cluster: r.clusterID(),
		Volumes: []conf.Volume{{VID: theVID, Layout: r.layout(), Clusters: []conf.Cluster{{CID: theCID}}}},
		Exports: []conf.ExportEntry{{
			EID: theEID, Name: r.Export, Root: exportRoot + r.Export, VID: theVID,
			BlockSize: r.BlockBytes, Systematic: r.Systematic,
		}},
	}
	members := &e.Volumes[0].Clusters[0].Storages
	for _, s := range r.Storages {
		*members = append(*members, conf.Member{SID: s.SID, Host: loopback, Port: s.Port})
	}
	return e
}

// storageConf is what storage-N.conf says when a cluster is made.
func (c *Cluster) storageConf(s Storage) *conf.Storage {
	return &conf.Storage{
		Threads:  conf.DefaultThreads,
		Listen:   []conf.Listen{{Addr: loopback, Port: s.Port}},
		Storages: []conf.StorageRoot{{CID: theCID, SID: s.SID, Root: c.storageRoot(s.SID)}},
	}
}
