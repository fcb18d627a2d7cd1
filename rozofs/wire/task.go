package wire

import "github.com/rozofs-go/rozo/rozofs/vocab"

// TaskKind is what a task does to the files of a volume.
type TaskKind uint8

const (
	TaskRebuild TaskKind = iota + 1 // brings back what a storage has lost
	TaskScrub                       // checks all that the storages have, and repairs it
	TaskDrain                       // moves what a storage has to others
	TaskBalance                     // moves files from fuller storages to emptier ones
)

// String is one word, for logs and tables.
func (k TaskKind) String() string {
	switch k {
	case TaskRebuild:
		return "rebuild"
	case TaskScrub:
		return "scrub"
	case TaskDrain:
		return "drain"
	case TaskBalance:
		return "balance"
	}
	return "unknown"
}

// TaskState is how far a task is.
type TaskState uint8

const (
	TaskRunning TaskState = iota + 1
	TaskDone
	TaskCancelled
)

// String is one word, for logs and tables.
func (s TaskState) String() string {
	switch s {
	case TaskRunning:
		return "running"
	case TaskDone:
		return "done"
	case TaskCancelled:
		return "cancelled"
	}
	return "unknown"
}

// TaskRequest starts or cancels a task. A task that runs already is not started again, but
// gets the rate.
type TaskRequest struct {
	Kind TaskKind
	VID  vocab.VID
	ID   vocab.StorageID // of a rebuild or drain
	Rate uint64          // bytes per second; 0: as fast as it goes
}

// Code implements Message.
func (m *TaskRequest) Code(c *Codec) {
	U8(c, &m.Kind)
	U16(c, &m.VID)
	codeStorageID(c, &m.ID)
	U64(c, &m.Rate)
}

// Task is a task and how far it is. Bytes and files are those that it has dealt with, out
// of totals that were estimated when it began.
type Task struct {
	TaskRequest
	State      TaskState
	Started    vocab.Time
	Ended      vocab.Time // 0: not yet
	Files      uint64
	TotalFiles uint64
	Bytes      uint64 // of file content
	TotalBytes uint64
	Waiting    uint64 // files that could not be done and are tried again
	Found      TaskFindings
	Why        string // why files wait
}

// TaskFindings is what a task has met and done.
type TaskFindings struct {
	Checked uint64 // bytes of slots looked at
	Written uint64 // bytes of slots written
	Lacking uint64 // projections that were not where they should be
	Broken  uint64 // projections that failed a check
	Lost    uint64 // blocks of which too few projections are left
	Orphans uint64 // files of a storage that no file needs
	Moved   uint64 // files moved to another storage
}

// Code implements Message.
func (m *TaskFindings) Code(c *Codec) {
	U64(c, &m.Checked)
	U64(c, &m.Written)
	U64(c, &m.Lacking)
	U64(c, &m.Broken)
	U64(c, &m.Lost)
	U64(c, &m.Orphans)
	U64(c, &m.Moved)
}

// Code implements Message.
func (m *Task) Code(c *Codec) {
	m.TaskRequest.Code(c)
	U8(c, &m.State)
	U64(c, &m.Started)
	U64(c, &m.Ended)
	U64(c, &m.Files)
	U64(c, &m.TotalFiles)
	U64(c, &m.Bytes)
	U64(c, &m.TotalBytes)
	U64(c, &m.Waiting)
	m.Found.Code(c)
	c.String(&m.Why, 4096)
}

// MaxTasks bounds the tasks in a TasksReply.
const MaxTasks = 1024

// TasksReply answers OpTasks, whose request is Empty: those that run, and the last of each
// kind and storage that ended.
type TasksReply struct {
	Tasks []Task
}

// Code implements Message.
func (m *TasksReply) Code(c *Codec) {
	Slice(c, &m.Tasks, MaxTasks, 100, func(c *Codec, t *Task) { t.Code(c) })
}
