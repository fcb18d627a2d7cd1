package wire

import "fmt"

// Op numbers a request. The numbers are part of the wire format.
type Op uint16

// The ops, with the messages of request and reply.
const (
	OpHello Op = 1 // Hello, Hello: the handshake only

	// Served by exportd.
	OpOpenSession  Op = 0x100 // OpenSessionRequest, OpenSessionReply
	OpReclaim      Op = 0x101 // ReclaimRequest, ReclaimReply
	OpRenew        Op = 0x102 // Head, RenewReply
	OpCloseSession Op = 0x103 // Head, Empty
	OpStorages     Op = 0x104 // Head, StoragesReply
	OpLookup       Op = 0x110 // NameRequest, AttrReply
	OpGetAttr      Op = 0x111 // InoRequest, AttrReply
	OpSetAttr      Op = 0x112 // SetAttrRequest, AttrReply
	OpMknod        Op = 0x113 // MknodRequest, AttrReply
	OpCreate       Op = 0x114 // CreateRequest, OpenReply
	OpSymlink      Op = 0x115 // SymlinkRequest, AttrReply
	OpReadlink     Op = 0x116 // InoRequest, ReadlinkReply
	OpLink         Op = 0x117 // LinkRequest, AttrReply
	OpUnlink       Op = 0x118 // NameRequest, Empty
	OpRmdir        Op = 0x119 // NameRequest, Empty
	OpRename       Op = 0x11a // RenameRequest, Empty
	OpReaddir      Op = 0x11b // ReaddirRequest, ReaddirReply
	OpStatFS       Op = 0x11c // Head, StatFSReply
	OpGetXattr     Op = 0x11d // XattrRequest, XattrReply
	OpListXattr    Op = 0x11e // InoRequest, XattrNamesReply
	OpSetXattr     Op = 0x11f // SetXattrRequest, AttrReply
	OpOpen         Op = 0x120 // OpenRequest, OpenReply
	OpCommit       Op = 0x121 // CommitRequest, AttrReply
	OpRelease      Op = 0x122 // ReleaseRequest, Empty
	OpRemoveXattr  Op = 0x123 // XattrRequest, AttrReply
	OpTmpfile      Op = 0x124 // CreateRequest without a name, OpenReply
	OpLock         Op = 0x140 // LockRequest, LockReply
	OpTestLock     Op = 0x141 // LockRequest, LockReply
	OpReclaimLocks Op = 0x142 // ReclaimLocksRequest, ReclaimLocksReply
	OpExportStatus Op = 0x130 // Empty, ExportStatusReply; needs no session
	OpStartTask    Op = 0x131 // TaskRequest, Task; for administration, needs no session
	OpTasks        Op = 0x132 // Empty, TasksReply; needs no session
	OpCancelTask   Op = 0x133 // TaskRequest, Task; needs no session

	// Served by the client.
	OpRecall   Op = 0x180 // RecallRequest, Empty
	OpLockTurn Op = 0x181 // LockTurnRequest, Empty

	// Served by storaged.
	OpWrite         Op = 0x200 // WriteRequest with slots, WriteReply
	OpRead          Op = 0x201 // ReadRequest, ReadReply with slots
	OpSync          Op = 0x202 // SyncRequest, BootReply
	OpDiscard       Op = 0x203 // DiscardRequest, BootReply
	OpDelete        Op = 0x204 // DeleteRequest, BootReply
	OpFence         Op = 0x205 // FenceRequest, BootReply
	OpStorageStatus Op = 0x206 // StorageStatusRequest, StorageStatusReply
	OpFinal         Op = 0x207 // FinalRequest, BootReply
	OpUnsettled     Op = 0x208 // BlocksRequest, UnsettledReply
	OpSettle        Op = 0x209 // SettleRequest, BootReply
	OpVersions      Op = 0x20a // BlocksRequest, VersionsReply
	OpRepair        Op = 0x20b // RepairRequest, RepairReply
	OpMark          Op = 0x20c // MarkRequest, BootReply
	OpFiles         Op = 0x20d // FilesRequest, FilesReply
	OpExtents       Op = 0x210 // BlocksRequest, ExtentsReply
)

var opNames = map[Op]string{
	OpHello: "hello", OpOpenSession: "open-session", OpReclaim: "reclaim", OpRenew: "renew",
	OpCloseSession: "close-session", OpStorages: "storages", OpLookup: "lookup", OpGetAttr: "getattr",
	OpSetAttr: "setattr", OpMknod: "mknod", OpCreate: "create", OpSymlink: "symlink", OpReadlink: "readlink",
	OpLink: "link", OpUnlink: "unlink", OpRmdir: "rmdir", OpRename: "rename", OpReaddir: "readdir",
	OpStatFS: "statfs", OpOpen: "open", OpCommit: "commit", OpRelease: "release",
	OpGetXattr: "getxattr", OpListXattr: "listxattr", OpSetXattr: "setxattr", OpRemoveXattr: "removexattr", OpTmpfile: "tmpfile",
	OpExportStatus: "export-status", OpRecall: "recall", OpWrite: "write", OpRead: "read", OpSync: "sync",
	OpDiscard: "discard", OpDelete: "delete", OpFence: "fence", OpStorageStatus: "storage-status",
	OpFinal: "final", OpUnsettled: "unsettled", OpSettle: "settle", OpVersions: "versions", OpRepair: "repair",
	OpMark: "mark", OpFiles: "files", OpExtents: "extents", OpStartTask: "start-task", OpTasks: "tasks", OpCancelTask: "cancel-task",
	OpLock: "lock", OpTestLock: "test-lock", OpReclaimLocks: "reclaim-locks", OpLockTurn: "lock-turn",
}

// String is the op's name, for logs and errors.
func (o Op) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op %#x", uint16(o))
}
