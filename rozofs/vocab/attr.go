package vocab

// Names and sizes that the metadata server bounds.
const (
	MaxNameBytes    = 255
	MaxSymlinkBytes = 4095
	MaxLinks        = 65000
	MaxFileBytes    = 1 << 50 // 1 PiB

	MaxXattrNameBytes = 255
	MaxXattrBytes     = 64 << 10 // of one value
	MaxXattrsBytes    = 96 << 10 // of all names and values of a file
)

// Mode bits, as in POSIX; the type of a file is in the upper ones.
const (
	ModeType    = 0o170000
	ModeRegular = 0o100000
	ModeDir     = 0o040000
	ModeSymlink = 0o120000
	ModeFIFO    = 0o010000
	ModeSocket  = 0o140000
	ModeChar    = 0o020000
	ModeBlock   = 0o060000
	ModeSetUID  = 0o4000
	ModeSetGID  = 0o2000
	ModeSticky  = 0o1000
	ModePerm    = 0o7777
)

// Above the bits of POSIX stands what whoever has a file's attributes would else have to
// ask for, of most files in vain.
const (
	ModeXattr      = 1 << 16 // it has extended attributes
	ModeCapability = 1 << 17 // XattrCapability among them
)

// Names of the extended attributes that mean something here.
const (
	XattrAccessACL  = "system.posix_acl_access" // the ACLs of POSIX.1e draft 17
	XattrDefaultACL = "system.posix_acl_default"
	XattrCapability = "security.capability" // what a program may that others may not; it ends with the next write
)

// Time is nanoseconds since 1970 UTC on exportd's clock.
type Time int64

// Attr are the attributes of an inode.
type Attr struct {
	Ino                 Ino
	Generation          uint32 // metadata incarnation of the inode: (Ino, Generation) is never used twice
	Mode                uint32 // type and permission bits, ModeXattr and ModeCapability
	Nlink               uint32
	UID, GID            uint32
	Rdev                uint32
	Size                uint64 // bytes
	Atime, Mtime, Ctime Time
}

// IsDir and IsRegular look at the type bits.
func (a *Attr) IsDir() bool     { return a.Mode&ModeType == ModeDir }
func (a *Attr) IsRegular() bool { return a.Mode&ModeType == ModeRegular }

// Placement is what a client needs to reach the content of a regular file.
type Placement struct {
	FID          FID
	Geometry     Geometry
	Distribution Distribution
}
