package admin

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// taskTimeout bounds the time that exportd may take to begin or end a task: it may have to
// ask a storage.
const taskTimeout = 15 * time.Second

// Task is what a rebuild, scrub, drain or balance has done. Its JSON field names are stable.
type Task struct {
	Kind       string    `json:"task"`
	VID        vocab.VID `json:"vid"`
	Storage    string    `json:"storage"` // CID/SID; "" of a scrub or balance
	State      string    `json:"state"`   // running, done or cancelled
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"` // zero: not yet
	Rate       uint64    `json:"rate_bytes_per_second"`
	Files      uint64    `json:"files"`
	TotalFiles uint64    `json:"total_files"` // estimated when it began, with directories
	Bytes      uint64    `json:"bytes"`       // of file content dealt with
	TotalBytes uint64    `json:"total_bytes"` // of all files of the volume when it began
	Checked    uint64    `json:"checked_bytes"`
	Written    uint64    `json:"written_bytes"`
	Lacking    uint64    `json:"lacking_projections"`
	Broken     uint64    `json:"broken_projections"`
	Lost       uint64    `json:"lost_blocks"`
	Orphans    uint64    `json:"orphans"`
	Moved      uint64    `json:"moved_files"`
	Waiting    uint64    `json:"waiting_files"`
	Why        string    `json:"why"` // files wait
}

func taskOf(t *wire.Task) Task {
	when := func(t vocab.Time) time.Time {
		if t == 0 {
			return time.Time{}
		}
		return time.Unix(0, int64(t))
	}
	out := Task{
		Kind: t.Kind.String(), VID: t.VID, State: t.State.String(), Started: when(t.Started), Ended: when(t.Ended), Rate: t.Rate,
		Files: t.Files, TotalFiles: t.TotalFiles, Bytes: t.Bytes, TotalBytes: t.TotalBytes,
		Checked: t.Found.Checked, Written: t.Found.Written, Lacking: t.Found.Lacking, Broken: t.Found.Broken,
		Lost: t.Found.Lost, Orphans: t.Found.Orphans, Moved: t.Found.Moved, Waiting: t.Waiting, Why: t.Why,
	}
	if t.ID != (vocab.StorageID{}) {
		out.Storage = t.ID.String()
	}
	return out
}

// Tasks starts, ends and lists what an exportd does to all files of a volume.
type Tasks struct {
	Addr string // host:port of exportd
	id   vocab.ClusterID
}

// Tasks are those of the cluster.
func (c *Cluster) Tasks() Tasks {
	return Tasks{Addr: c.byRole(RoleExportd)[0].Addr, id: c.Record.clusterID()}
}

func (a Tasks) call(ctx context.Context, op wire.Op, req, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	if err := call(ctx, a.Addr, a.id, op, req, reply); err != nil {
		return fmt.Errorf("exportd at %s: %w", a.Addr, err)
	}
	return nil
}

// List tells of the tasks that run, and the last of each kind and storage that has ended, in
// order of their beginning.
func (a Tasks) List(ctx context.Context) ([]Task, error) {
	var reply wire.TasksReply
	if err := a.call(ctx, wire.OpTasks, &wire.Empty{}, &reply); err != nil {
		return nil, err
	}
	all := make([]Task, 0, len(reply.Tasks))
	for i := range reply.Tasks {
		all = append(all, taskOf(&reply.Tasks[i]))
	}
	return all, nil
}

// Start starts a task, or gives one that runs already its rate.
func (a Tasks) Start(ctx context.Context, req wire.TaskRequest) (Task, error) {
	var reply wire.Task
	err := a.call(ctx, wire.OpStartTask, &req, &reply)
	return taskOf(&reply), err
}

// Cancel ends a task; a drained storage gets files again.
func (a Tasks) Cancel(ctx context.Context, req wire.TaskRequest) (Task, error) {
	var reply wire.Task
	err := a.call(ctx, wire.OpCancelTask, &req, &reply)
	return taskOf(&reply), err
}

// Wait tells progress how a task gets on until it has ended.
func (a Tasks) Wait(ctx context.Context, t Task, progress io.Writer) (Task, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		all, err := a.List(ctx)
		if err != nil {
			return t, err
		}
		i := slices.IndexFunc(all, func(o Task) bool { return o.Kind == t.Kind && o.VID == t.VID && o.Storage == t.Storage })
		if i < 0 {
			return t, fmt.Errorf("exportd at %s knows of no %s any more", a.Addr, t.Kind)
		}
		t = all[i]
		fmt.Fprintln(progress, t.Line())
		if t.State != wire.TaskRunning.String() {
			return t, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return t, context.Cause(ctx)
		}
	}
}

// ETA estimates how long a task will run yet, from its rate up to now; 0 when it cannot be
// told. A rebuild or drain passes over the files that do not concern it, which are in the total.
func (t *Task) ETA() time.Duration {
	took := time.Since(t.Started)
	if t.State != wire.TaskRunning.String() || t.Bytes == 0 || t.Bytes >= t.TotalBytes || took <= 0 {
		return 0
	}
	return time.Duration(float64(took) * float64(t.TotalBytes-t.Bytes) / float64(t.Bytes)).Round(time.Second)
}

// Line says all of a task in one line.
func (t *Task) Line() string {
	var b strings.Builder
	b.WriteString(t.Kind)
	if t.Storage != "" {
		b.WriteString(" of storage " + t.Storage)
	}
	fmt.Fprintf(&b, " %s: %d files, %s of %s", t.State, t.Files, formatBytes(t.Bytes), formatBytes(t.TotalBytes))
	took := time.Since(t.Started)
	if !t.Ended.IsZero() {
		took = t.Ended.Sub(t.Started)
	}
	fmt.Fprintf(&b, " in %v", took.Round(time.Second))
	if eta := t.ETA(); eta > 0 {
		fmt.Fprintf(&b, ", %v left", eta)
	}
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{t.Lacking, "projections were missing"},
		{t.Broken, "projections were broken"},
		{t.Lost, "blocks ARE LOST"},
		{t.Orphans, "orphans removed"},
		{t.Moved, "files moved"},
	} {
		if x.n > 0 {
			fmt.Fprintf(&b, ", %d %s", x.n, x.what)
		}
	}
	if t.Written > 0 {
		fmt.Fprintf(&b, ", %s written", formatBytes(t.Written))
	}
	if t.Waiting > 0 {
		fmt.Fprintf(&b, ", %d files wait (%s)", t.Waiting, t.Why)
	}
	return b.String()
}

// WriteTasks writes a table of tasks for people to read.
func WriteTasks(w io.Writer, all []Task) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TASK\tSTORAGE\tSTATE\tFILES\tDONE\tLEFT\tMISSING\tBROKEN\tLOST\tORPHANS\tMOVED\tWRITTEN\tWAITING")
	for _, x := range all {
		left := "-"
		if eta := x.ETA(); eta > 0 {
			left = eta.String()
		}
		storage := x.Storage
		if storage == "" {
			storage = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s of %s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\n", x.Kind, storage, x.State, x.Files,
			formatBytes(x.Bytes), formatBytes(x.TotalBytes), left, x.Lacking, x.Broken, x.Lost, x.Orphans, x.Moved, formatBytes(x.Written), x.Waiting)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, x := range all {
		if x.Waiting > 0 {
			fmt.Fprintf(w, "%s %s: %d files wait: %s\n", x.Kind, x.Storage, x.Waiting, x.Why)
		}
	}
	return nil
}

// ParseStorageID reads SID or CID/SID; without CID it is 1.
func ParseStorageID(s string) (id vocab.StorageID, err error) {
	cid, sid, ok := strings.Cut(s, "/")
	if !ok {
		cid, sid = "1", s
	}
	c, err1 := strconv.ParseUint(cid, 10, 16)
	n, err2 := strconv.ParseUint(sid, 10, 8)
	if err1 != nil || err2 != nil || c == 0 || n == 0 {
		return id, usagef("%q is no storage: want SID or CID/SID, such as 3 or 1/3", s)
	}
	return vocab.StorageID{CID: vocab.CID(c), SID: vocab.SID(n)}, nil
}

// RenewRoot makes the root of a storage of this machine anew if it is lost: stops its
// storaged, gives the empty directory an identity, and starts it. A root that is there
// stays as it is.
func (c *Cluster) RenewRoot(ctx context.Context, sid vocab.SID, progress io.Writer) error {
	i := slices.IndexFunc(c.Record.Storages, func(s Storage) bool { return s.SID == sid })
	if i < 0 {
		return usagef("the cluster in %s has no storage %d", c.Dir, sid)
	}
	if exists(c.storageRoot(sid) + "/rozofs.root") {
		return nil
	}
	s := &c.Record.Storages[i]
	name := c.daemon(RoleStoraged, sid, s.Port).Name
	if err := c.Stop(ctx, name, progress); err != nil {
		return err
	}
	say(progress, "made", "%s: an empty root for storage %d", c.storageRoot(sid), sid)
	s.Made = false
	if err := c.makeStorage(ctx, s); err != nil {
		return err
	}
	return c.Start(ctx, name, progress)
}
