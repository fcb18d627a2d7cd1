package rozofsmount

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Sizes of the mount that no option changes.
const (
	maxRequestBytes = 1 << 20 // of one READ or WRITE
	maxBackground   = 64      // requests that no one waits for: read-ahead, asynchronous I/O, RELEASE
)

// Options say what to mount where.
type Options struct {
	Mountpoint string   // a directory that nothing is mounted on
	Hosts      []string // exportd, HOST:PORT, tried in turn; at least one
	Export     string   // the export's path as in export.conf

	// MountFlags are those of mount(8) that the kernel carries out: ro, nosuid,
	// suid, nodev, dev, noexec, exec, noatime, nodiratime, relatime, sync,
	// dirsync. nosuid and nodev hold unless suid and dev are given.
	MountFlags []string

	ExportTimeout    time.Duration // for one answer of exportd; 0: the client's default
	StorageTimeout   time.Duration // for one answer of a storage; 0: the client's default
	WriteBufferBytes int64         // written data not yet on storages; 0: the client's default

	LocalLocks bool // locks hold among the programs of this machine only, and cost nothing

	// How long the kernel may trust what it knows, however it changes elsewhere.
	// 0, the default: it asks each time.
	AttrTimeout, EntryTimeout time.Duration

	NoXattr bool // no extended attributes and no ACLs

	Trace bool         // log every FUSE request, at level debug
	Log   *slog.Logger // nil: slog.Default()

	// Connect makes the client; nil: that of package rozofs. invalidate must be
	// called with each file whose lease was lost; it never blocks.
	Connect func(ctx context.Context, o *Options, invalidate func(vocab.Ino)) (FileSystem, error)
}

// Mounted is a file system that is mounted and served.
type Mounted struct {
	point  string
	device string // MAJOR:MINOR, for the list of mounts
	log    *slog.Logger
	fs     FileSystem
	face   *face
	server *fuse.Server
	inval  *invalidator

	closeOnce sync.Once
	closeErr  error // of closing the client; read after closeOnce

	done chan struct{} // closed when nothing is served any more and the client is closed
	err  error         // closeErr; read after done
}

// Mount connects to exportd and mounts the export. The mount point answers when
// it returns. ctx bounds the mounting only.
func Mount(ctx context.Context, o Options) (*Mounted, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if len(o.Hosts) == 0 || o.Export == "" || o.Mountpoint == "" {
		return nil, errors.New("mounting needs an exportd host, an export path and a mount point")
	}
	point, err := o.precheck()
	if err != nil {
		return nil, err
	}
	connect := o.Connect
	if connect == nil {
		connect = connectClient
	}
	m := &Mounted{point: point, log: o.Log, inval: newInvalidator(o.Log), done: make(chan struct{})}
	if m.fs, err = connect(ctx, &o, m.inval.add); err != nil {
		return nil, fmt.Errorf("connecting to exportd %s for export %s: %w", strings.Join(o.Hosts, ", "), o.Export, err)
	}
	m.face = newFace(m.fs, o.Log, o.AttrTimeout, o.EntryTimeout)
	if err := m.attach(&o); err != nil {
		m.face.close()
		return nil, errors.Join(err, m.closeClient())
	}
	return m, nil
}

// precheck finds what would stop the mount before anything is started.
func (o *Options) precheck() (point string, err error) {
	if point, err = checkMountpoint(o.Mountpoint); err != nil {
		return "", err
	}
	if err := checkDevice(fuseDevice); err != nil {
		return "", err
	}
	return point, checkHelper()
}

// attach mounts and begins to serve.
func (m *Mounted) attach(o *Options) error {
	server, err := fuse.NewServer(m.face, m.point, o.mountOptions(m.log))
	if err != nil {
		return m.attachFailed(o, err)
	}
	m.server = server
	m.inval.start(func(ino vocab.Ino) fuse.Status { return server.InodeNotify(m.face.node(ino), 0, 0) })
	go m.serve() // Wait waits for it
	// WaitMount opens a file under the mount point that the library itself answers
	// for; it keeps Go programs that serve and use a mount in one process, tests
	// say, from locking up. Where our user may not enter the export's root it fails,
	// and does no harm.
	if err := server.WaitMount(); err != nil {
		m.log.Debug("first access to the mount point", "err", err)
	}
	entry, ok, err := mountAt(m.point)
	if err != nil || !ok {
		m.log.Warn("the mount is not in the list of mounts; it may have been unmounted already", "mountpoint", m.point, "err", err)
		return nil
	}
	m.device = entry.device
	if err := raiseReadAhead(m.device); err != nil {
		m.log.Debug("read-ahead left as it is", "err", err)
	}
	return nil
}

// attachFailed cleans up: the library leaves the mount when only the first
// exchange with the kernel failed.
func (m *Mounted) attachFailed(o *Options, err error) error {
	if entry, ok, _ := mountAt(m.point); ok && entry.source == o.source() {
		if detachErr := detach(m.point, false); detachErr != nil {
			m.log.Warn("a mount is left behind", "mountpoint", m.point, "err", detachErr)
		}
	}
	if errors.Is(err, syscall.EPERM) && os.Geteuid() == 0 {
		return fmt.Errorf("mounting on %s: %w: root lacks the right to mount here, in a container give it --cap-add SYS_ADMIN", m.point, err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("mounting on %s: %s; what it said stands on the terminal or in the log", m.point, strings.TrimSpace(err.Error()))
	}
	return fmt.Errorf("mounting on %s: %w", m.point, err)
}

// serve answers requests until the file system is unmounted, then ends all.
func (m *Mounted) serve() {
	defer close(m.done)
	m.server.Serve()
	m.inval.stop()
	m.face.close()
	m.err = m.closeClient()
	m.log.Info("unmounted", "mountpoint", m.point)
}

// closeClient ends the session with exportd, once.
func (m *Mounted) closeClient() error {
	m.closeOnce.Do(func() { m.closeErr = m.fs.Close() })
	return m.closeErr
}

// Mountpoint is the absolute path of the mount, free of symbolic links.
func (m *Mounted) Mountpoint() string { return m.point }

// Wait returns when the file system was unmounted, by whomever, and the client
// is closed. Its error is that of writing what was still buffered.
func (m *Mounted) Wait() error {
	<-m.done
	return m.err
}

// Done is closed when Wait would return.
func (m *Mounted) Done() <-chan struct{} { return m.done }

// source is the first column of df: rozofs:HOST/EXPORT.
func (o *Options) source() string {
	host := strings.TrimSuffix(o.Hosts[0], ":"+defaultPort)
	return "rozofs:" + host + "/" + strings.TrimPrefix(o.Export, "/")
}

// mountOptions are those of the FUSE library.
//
// No splice: it logs an error per 1 MiB read. No write-back cache in the kernel:
// it breaks O_APPEND and coherence between machines; the client buffers itself,
// under its lease. READDIRPLUS only when the kernel may keep what it brings:
// with timeouts of 0 it would ask again for each entry, and attributes of files
// that other machines write cost a recall of their leases. The umask is for exportd, which
// knows the default ACLs, and so is the end of set-user-id at a write (KILLPRIV): otherwise
// the kernel would ask for security.capability at each write.
func (o *Options) mountOptions(logger *slog.Logger) *fuse.MountOptions {
	root := os.Geteuid() == 0
	mo := &fuse.MountOptions{
		AllowOther:           root || userAllowOther("/etc/fuse.conf"),
		Options:              append([]string{"default_permissions"}, o.MountFlags...),
		MaxBackground:        maxBackground,
		MaxWrite:             maxRequestBytes,
		FsName:               o.source(),
		Name:                 "rozofs",
		EnableAcl:            !o.NoXattr,
		DisableXAttrs:        o.NoXattr,
		EnableLocks:          !o.LocalLocks,
		DisableSplice:        true,
		DisableReadDirPlus:   o.AttrTimeout == 0 || o.EntryTimeout == 0,
		DirectMountStrict:    root,
		Debug:                o.Trace,
		Logger:               log.New(libraryLog{logger}, "", 0),
		PanicHandler:         func(reason any) fuse.Status { return panicked(logger, reason) },
		DisabledCapabilities: 0,
		ExtraCapabilities: fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ASYNC_DIO |
			fuse.CAP_EXPORT_SUPPORT | fuse.CAP_DONT_MASK | fuse.CAP_SETXATTR_EXT | fuse.CAP_HANDLE_KILLPRIV_V2,
	}
	if root {
		mo.DirectMountFlags, mo.Options = kernelFlags(mo.Options)
	}
	return mo
}

// panicked keeps the mount alive when a request meets a mistake of ours.
func panicked(logger *slog.Logger, reason any) fuse.Status {
	logger.Error("a request panicked: please report this", "panic", reason, "stack", string(debug.Stack()))
	return fuse.EIO
}

// libraryLog passes on what the FUSE library logs.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := slog.LevelWarn
	// Requests that it does not know it answers with ENOSYS, as it should;
	// lines of a trace begin with the direction.
	for _, prefix := range []string{"Unimplemented opcode", "rx ", "tx "} {
		if strings.HasPrefix(line, prefix) {
			level = slog.LevelDebug
		}
	}
	l.log.Log(context.Background(), level, "fuse", "line", line)
	return len(p), nil
}

// userAllowOther tells whether the machine lets users mount for others too.
func userAllowOther(conf string) bool {
	text, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "user_allow_other"
	})
}
