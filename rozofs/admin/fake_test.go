package admin

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rozofs-go/rozo/rozofs/conf"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// TestMain plays the daemons when the test program is called by their names:
// they speak the real protocol and keep nothing. Beside the program lie
//
//	events         what they did, a line each
//	fail-NAME      text that NAME prints before it ends with status 3
//	stubborn-NAME  NAME ignores SIGTERM
//	mountinfo      the table of mounts
func TestMain(m *testing.M) {
	dir, name := filepath.Split(os.Args[0])
	play, ok := map[string]func(*fake){RoleExportd: (*fake).exportd, RoleStoraged: (*fake).storaged, RoleMount: (*fake).mount, "user": (*fake).user, "dying": (*fake).dying}[name]
	if !ok {
		os.Setenv("GORACE", "atexit_sleep_ms=0") // the fakes would each take a second to end
		goleak.VerifyTestMain(m)
		return
	}
	f := &fake{dir: dir, name: name}
	f.init = flag.Bool("init", false, "")
	f.cluster = flag.String("cluster", "", "")
	f.conf = flag.String("c", "", "")
	f.host = flag.String("H", "", "")
	f.export = flag.String("E", "", "")
	f.foreground = flag.Bool("f", false, "")
	flag.Parse()
	play(f)
}

// dying ends its first thread alone and holds a port until it is killed.
func (f *fake) dying() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() { _, _ = l.Accept() }()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

func init() {
	if filepath.Base(os.Args[0]) == "dying" {
		runtime.LockOSThread() // main runs on the first thread
	}
}

type fake struct {
	dir, name                   string
	cluster, conf, host, export *string
	init, foreground            *bool
	hello                       wire.Hello
}

func (f *fake) must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, f.name+":", err)
		os.Exit(1)
	}
}

func (f *fake) note(what string) {
	w, err := os.OpenFile(filepath.Join(f.dir, "events"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	f.must(err)
	_, err = fmt.Fprintf(w, "%s %s\n", what, f.name)
	f.must(err)
	f.must(w.Close())
}

// run begins, waits for SIGTERM and ends.
func (f *fake) run(begin, end func()) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	f.note("start")
	if text, err := os.ReadFile(filepath.Join(f.dir, "fail-"+f.name)); err == nil {
		fmt.Fprintln(os.Stderr, string(text))
		os.Exit(3)
	}
	begin()
	<-term
	for exists(filepath.Join(f.dir, "stubborn-"+f.name)) {
		<-term
	}
	end()
	f.note("stop")
}

func (f *fake) serve(addr string, h wire.Handler) {
	l, err := net.Listen("tcp", addr)
	f.must(err)
	s := &wire.Server{Handler: h, Hello: f.hello, Log: slog.New(slog.DiscardHandler)}
	var served sync.WaitGroup
	f.run(func() { served.Go(func() { f.must(s.Serve(l)) }) }, func() { s.Close(); served.Wait() })
}

func (f *fake) storaged() {
	c, err := conf.LoadStorage(*f.conf)
	f.must(err)
	f.must(c.CheckRoots())
	root := c.Storages[0]
	f.name = fmt.Sprintf("storaged-%d", root.SID)
	identity := filepath.Join(root.Root, "identity")
	if *f.init {
		f.must(os.WriteFile(identity, []byte(*f.cluster), 0o644))
		return
	}
	b, err := os.ReadFile(identity)
	f.must(err)
	cluster, err := vocab.ParseClusterID(string(b))
	f.must(err)
	f.hello = wire.Hello{Role: wire.RoleStoraged, Cluster: cluster, Name: f.name}
	f.serve(c.Listen[0].HostPort(), func(_ context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
		return &wire.StorageStatusReply{Roots: []wire.StorageRoot{{
			ID: vocab.StorageID{CID: root.CID, SID: root.SID}, Health: wire.HealthUp, TotalBytes: 3 << 30, FreeBytes: 1 << 30,
		}}}, wire.Bulk{}, nil
	})
}

func (f *fake) exportd() {
	e, _, err := conf.LoadExport(*f.conf)
	f.must(err)
	f.hello = wire.Hello{Role: wire.RoleExportd, Cluster: e.Cluster, Name: f.name}
	f.serve(e.ListenAddr(), func(ctx context.Context, r *wire.Request) (wire.Message, wire.Bulk, error) {
		if r.Op == wire.OpTasks {
			return &wire.TasksReply{}, wire.Bulk{}, nil
		}
		reply := &wire.ExportStatusReply{Cluster: e.Cluster}
		for _, m := range e.Volumes[0].Clusters[0].Storages {
			root := wire.StorageRoot{ID: vocab.StorageID{CID: 1, SID: m.SID}}
			if c, err := wire.Dial(ctx, m.Addr(), f.hello, nil); err == nil {
				root.Health = wire.HealthUp
				c.Close()
			}
			reply.Storages = append(reply.Storages, wire.StorageAddr{StorageRoot: root, Addr: m.Addr()})
		}
		return reply, wire.Bulk{}, nil
	})
}

func (f *fake) mount() {
	if !*f.foreground || *f.export != "/srv/rozofs/exports/"+DefaultExport {
		f.must(fmt.Errorf("arguments %q", os.Args))
	}
	c, err := net.Dial("tcp", *f.host)
	f.must(err)
	c.Close()
	at, table := flag.Arg(0), filepath.Join(f.dir, "mountinfo")
	f.run(func() { f.must(addMount(table, at, mountType, os.Getpid())) }, func() { f.must(removeMount(table, at)) })
}

// user uses a directory until it is told to end.
func (f *fake) user() { f.run(func() {}, func() {}) }

// addMount adds a line to a table of mounts, as of the process pid.
func addMount(table, at, fsType string, pid int) error {
	b, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	return conf.WriteFile(table, fmt.Appendf(b, "40 30 0:36 / %s rw,relatime shared:1 - %s pid-%d rw\n", strings.ReplaceAll(at, " ", `\040`), fsType, pid))
}

func removeMount(table, at string) error {
	b, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	for line := range bytes.Lines(b) {
		if !bytes.Contains(line, []byte(" "+at+" ")) {
			kept.Write(line)
		}
	}
	return conf.WriteFile(table, kept.Bytes())
}

// site is a place for clusters of fake daemons.
type site struct {
	t       *testing.T
	dir     string
	machine *machine
	options Options
	out     bytes.Buffer // progress
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: canonical(t.TempDir())}
	exe, err := os.Executable()
	require.NoError(t, err)
	bin := filepath.Join(s.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	for _, name := range []string{RoleExportd, RoleStoraged, RoleMount, "user"} {
		require.NoError(t, os.Symlink(exe, filepath.Join(bin, name)))
	}
	s.options = Options{Dir: filepath.Join(s.dir, "data"), Mount: filepath.Join(s.dir, "mnt"), Bin: bin}
	table := s.bin("mountinfo")
	s.write(table, "22 1 8:1 / / rw - ext4 /dev/root rw\n")
	s.machine = &machine{
		devFuse: os.DevNull, mountinfo: table, root: true, stopTimeout: stopTimeout,
		lookPath: func(string) (string, error) { return "", os.ErrNotExist },
		detach:   func(_ *machine, at string) error { return removeMount(table, at) },
		dead:     func(at string) bool { return s.deadMount(at) },
	}
	t.Cleanup(s.cleanup)
	return s
}

func (s *site) bin(name string) string { return filepath.Join(s.options.Bin, name) }

func (s *site) write(name, text string) {
	require.NoError(s.t, os.WriteFile(name, []byte(text), 0o644))
}

func (s *site) deadMount(at string) bool {
	b, err := os.ReadFile(s.machine.mountinfo)
	require.NoError(s.t, err)
	for line := range strings.Lines(string(b)) {
		if _, source, ok := strings.Cut(line, "pid-"); ok && strings.Contains(line, " "+at+" ") {
			var pid int
			_, err := fmt.Sscan(source, &pid)
			require.NoError(s.t, err)
			state, _, err := stat(pid)
			return err != nil || state == 'Z'
		}
	}
	return false
}

// cleanup ends what a failed test left.
func (s *site) cleanup() {
	if c, err := open(s.options.Dir, s.options.Bin, s.machine); err == nil {
		for _, d := range c.Daemons() {
			if p, known, _ := readPid(d.pidFile); known {
				_ = c.kill(context.Background(), p)
			}
		}
	}
}

// events reads what the fakes did since the last call, sorted in no way.
func (s *site) events() []string {
	b, err := os.ReadFile(s.bin("events"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(s.t, err)
	require.NoError(s.t, os.Remove(s.bin("events")))
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func (s *site) up() (*Cluster, error) {
	s.out.Reset()
	return up(s.ctx(), s.options, &s.out, s.machine)
}

func (s *site) mustUp() *Cluster {
	c, err := s.up()
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *site) open() *Cluster {
	c, err := open(s.options.Dir, s.options.Bin, s.machine)
	require.NoError(s.t, err)
	return c
}

// ctx bounds a step of a test, generously.
func (s *site) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *site) requireOutput(text string) { require.Contains(s.t, s.out.String(), text) }
