package wire

import "fmt"

// Op numbers a request. The numbers are part of the wire format.
type Op uint16

const (
	OpHello Op = 1

	// Served by exportd.
	OpOpenSession  Op = 0x100
	OpReclaim      Op = 0x101
	OpRenew        Op = 0x102
	OpCloseSession Op = 0x103
	OpStorages     Op = 0x104
	OpLookup       Op = 0x110
	OpGetAttr      Op = 0x111
	OpSetAttr      Op = 0x112
	OpMknod        Op = 0x113
	OpCreate       Op = 0x114
	OpSymlink      Op = 0x115
	OpReadlink     Op = 0x116
	OpLink         Op = 0x117
	OpUnlink       Op = 0x118
	OpRmdir        Op = 0x119
	OpRename       Op = 0x11a
	OpReaddir      Op = 0x11b
	OpStatFS       Op = 0x11c
	OpOpen         Op = 0x120
	OpCommit       Op = 0x121
	OpRelease      Op = 0x122
	OpExportStatus Op = 0x130

	// Served by the client.
	OpRecall Op = 0x180

	// Served by storaged.
	OpWrite         Op = 0x200
	OpRead          Op = 0x201
	OpSync          Op = 0x202
	OpDiscard       Op = 0x203
	OpDelete        Op = 0x204
	OpFence         Op = 0x205
	OpStorageStatus Op = 0x206
)

var opNames = map[Op]string{
	OpHello: "hello", OpOpenSession: "open-session", OpReclaim: "reclaim", OpRenew: "renew",
	OpCloseSession: "close-session", OpStorages: "storages", OpLookup: "lookup", OpGetAttr: "getattr",
	OpSetAttr: "setattr", OpMknod: "mknod", OpCreate: "create", OpSymlink: "symlink", OpReadlink: "readlink",
	OpLink: "link", OpUnlink: "unlink", OpRmdir: "rmdir", OpRename: "rename", OpReaddir: "readdir",
	OpStatFS: "statfs", OpOpen: "open", OpCommit: "commit", OpRelease: "release",
	OpExportStatus: "export-status", OpRecall: "recall", OpWrite: "write", OpRead: "read", OpSync: "sync",
	OpDiscard: "discard", OpDelete: "delete", OpFence: "fence", OpStorageStatus: "storage-status",
}

func (o Op) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op %#x", uint16(o))
}
