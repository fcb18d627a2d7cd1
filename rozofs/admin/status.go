package admin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// State of a daemon or of the mount.
type State string

const (
	Running     State = "running"     // serves
	Stopped     State = "stopped"     // was not started, or was stopped
	Died        State = "died"        // was started and has ended by itself, or was killed
	Unreachable State = "unreachable" // has a process that does not answer
	Failed      State = "failed"      // answers, but its storage is out of service
	Unmounted   State = "unmounted"   // has a process and no mount
)

// Status is what `rozo status --json` prints. Its field names are stable.
type Status struct {
	Dir        string         `json:"dir"`
	Cluster    string         `json:"cluster"`
	Layout     string         `json:"layout"`
	Systematic bool           `json:"systematic"`
	BlockBytes uint32         `json:"block_size_bytes"`
	Export     string         `json:"export"`
	Healthy    bool           `json:"healthy"` // all daemons run and the file system is mounted
	Daemons    []DaemonStatus `json:"daemons"` // exportd, the storaged by sid
	Mount      MountStatus    `json:"mount"`
	Unsettled  uint32         `json:"files_to_settle"` // their writers ended without finishing
	Degraded   uint32         `json:"files_to_repair"` // something of them is not at home
	Tasks      []Task         `json:"tasks"`           // rebuilds, scrubs, drains and balances that run, and the last of each that has ended
}

// DaemonStatus is the state of exportd or of a storaged.
type DaemonStatus struct {
	Name       string    `json:"name"`
	Role       string    `json:"role"`
	SID        vocab.SID `json:"sid"` // 0 of exportd
	PID        int       `json:"pid"` // 0 when it does not run
	Address    string    `json:"address"`
	State      State     `json:"state"`
	Detail     string    `json:"detail"`      // why the state is not running, or ""
	FreeBytes  uint64    `json:"free_bytes"`  // where it keeps its data; 0 when not known
	TotalBytes uint64    `json:"total_bytes"` // likewise
	Log        string    `json:"log"`
}

// MountStatus is the state of rozofsmount and its mount.
type MountStatus struct {
	Name       string `json:"name"`
	Role       string `json:"role"`
	PID        int    `json:"pid"`
	MountPoint string `json:"mount_point"`
	State      State  `json:"state"`
	Detail     string `json:"detail"`
	FreeBytes  uint64 `json:"free_bytes"` // of user data
	TotalBytes uint64 `json:"total_bytes"`
	Log        string `json:"log"`
}

// Status asks all daemons how they are. An error means that nothing can be
// told; a daemon that does not run is in the Status.
func (c *Cluster) Status(ctx context.Context) (*Status, error) {
	r := c.Record
	s := &Status{Dir: c.Dir, Cluster: r.Cluster, Layout: r.Layout, Systematic: r.Systematic, BlockBytes: r.BlockBytes, Export: r.Export}
	all := append(c.byRole(RoleExportd), c.byRole(RoleStoraged)...)
	s.Daemons = make([]DaemonStatus, len(all))
	errs := make([]error, len(all)+1)
	var joined sync.WaitGroup
	for i, d := range all {
		joined.Go(func() { s.Daemons[i], errs[i] = c.daemonStatus(ctx, d, s) })
	}
	joined.Go(func() { s.Mount, errs[len(all)] = c.mountStatus(c.byRole(RoleMount)[0]) })
	joined.Wait()
	s.Healthy = s.Mount.State == Running
	for _, d := range s.Daemons {
		s.Healthy = s.Healthy && d.State == Running
	}
	return s, errors.Join(errs...)
}

// daemonStatus is called for each daemon on a goroutine of its own; exportd's also tells
// of files.
func (c *Cluster) daemonStatus(ctx context.Context, d Daemon, all *Status) (DaemonStatus, error) {
	s := DaemonStatus{Name: d.Name, Role: d.Role, SID: d.SID, Address: d.Addr, Log: d.Log}
	p, known, alive, err := c.running(d)
	if err != nil {
		return s, err
	}
	if s.State, s.Detail = processState(p, known, alive); s.State != Running {
		return s, nil
	}
	s.PID = p.pid
	if d.Role == RoleExportd {
		var reply wire.ExportStatusReply
		if reply, err = c.export(ctx, d); err == nil {
			all.Unsettled, all.Degraded = reply.Unsettled, reply.Degraded
			all.Tasks, err = c.Tasks().List(ctx)
		}
		s.FreeBytes, s.TotalBytes, _ = space(c.path("meta")) // 0 is "not known"
	} else {
		var root wire.StorageRoot
		if root, err = c.storage(ctx, d); err == nil && !root.Health.Serves() {
			s.State, s.Detail = Failed, "its disk has failed: see the log"
		}
		s.FreeBytes, s.TotalBytes = root.FreeBytes, root.TotalBytes
	}
	if err != nil {
		s.State, s.Detail = Unreachable, err.Error()
	}
	return s, nil
}

func processState(p process, known, alive bool) (State, string) {
	switch {
	case alive:
		return Running, ""
	case known:
		return Died, fmt.Sprintf("pid %d has ended", p.pid)
	}
	return Stopped, ""
}

func (c *Cluster) mountStatus(d Daemon) (MountStatus, error) {
	s := MountStatus{Name: d.Name, Role: d.Role, MountPoint: c.Record.Mount, Log: d.Log}
	p, known, alive, err := c.running(d)
	if err != nil {
		return s, err
	}
	if s.State, s.Detail = processState(p, known, alive); s.State != Running {
		return s, nil
	}
	s.PID = p.pid
	if err := c.mountReady(context.Background(), d); err != nil {
		s.State, s.Detail = Unmounted, err.Error()
		return s, nil
	}
	if s.FreeBytes, s.TotalBytes, err = space(c.Record.Mount); err != nil {
		s.State, s.Detail = Unreachable, err.Error()
	}
	return s, nil
}

// space gives the free and total bytes of the file system that holds path.
func space(path string) (free, total uint64, err error) {
	answer := make(chan syscall.Statfs_t, 1)
	err = ask(func() error {
		var st syscall.Statfs_t
		err := syscall.Statfs(path, &st)
		answer <- st
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("statfs: %w", err)
	}
	st := <-answer
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}
