package vocab

import "fmt"

// Kind is the small stable enumeration of errors that cross the wire. A Kind is
// itself an error, so that errors.Is(err, vocab.NotFound) asks for it.
type Kind uint16

// The numbers are part of the wire format: append, never renumber.
const (
	Internal         Kind = iota // a failure that has no better name; the text says what
	Invalid                      // an argument that no valid client sends
	NotFound                     // no such name or file
	Exists                       // the name is taken
	NotDir                       // a directory is needed
	IsDir                        // a directory is in the way
	NotEmpty                     // the directory has entries
	NotPermitted                 // the operation is never allowed here (EPERM)
	AccessDenied                 // the caller lacks the right (EACCES)
	NameTooLong                  // over MaxNameBytes or MaxSymlinkBytes
	TooManyLinks                 // over MaxLinks
	TooLarge                     // over a named limit of size or offset
	NoSpace                      // the storages are full
	OverQuota                    // a quota is used up
	ReadOnly                     // the export or grant is read-only
	CrossExport                  // the two names lie in different exports
	Stale                        // the file is gone, or the handle is from an earlier incarnation
	NotSupported                 // not offered
	NoSession                    // the session has ended or is unknown
	Fenced                       // the epoch is below the one that may act
	WrongIncarnation             // the storage root was replaced or is not the one meant
	OldGeneration                // the distribution has changed since
	Unavailable                  // too few storages, or exportd, could be reached
	Corrupt                      // stored or received bytes fail their checksum or identity
	DiskFailed                   // the storage's disk returned an error and was taken out of service
	Busy                         // in use: a mount point, a directory, a limit of open files
	Protocol                     // the peer sent what the protocol forbids
	Canceled                     // the caller gave up
	NoData                       // no such extended attribute
	TooManyOpen                  // a limit on leases, locks or sessions is reached
	Overloaded                   // a limit on requests under way is reached: the same request later
	Locked                       // somebody holds a lock that excludes this one (EAGAIN)
	Deadlock                     // waiting for the lock would never end (EDEADLK)
	NoLocks                      // a limit on locks is reached, or the lock was lost (ENOLCK)
	kindEnd
)

var kindText = [...]string{
	Internal: "internal error", Invalid: "invalid argument", NotFound: "not found", Exists: "exists already",
	NotDir: "not a directory", IsDir: "is a directory", NotEmpty: "directory not empty",
	NotPermitted: "operation not permitted", AccessDenied: "access denied", NameTooLong: "name too long",
	TooManyLinks: "too many links", TooLarge: "too large", NoSpace: "no space left", OverQuota: "over quota",
	ReadOnly: "read-only", CrossExport: "crosses exports", Stale: "stale file handle", NotSupported: "not supported",
	NoSession: "no such session", Fenced: "fenced: superseded epoch", WrongIncarnation: "wrong incarnation of the storage root",
	OldGeneration: "distribution has changed", Unavailable: "unavailable", Corrupt: "corrupt data", DiskFailed: "disk failed",
	Busy: "busy", Protocol: "protocol error", Canceled: "canceled", NoData: "no such attribute", TooManyOpen: "too many open",
	Overloaded: "overloaded", Locked: "locked", Deadlock: "deadlock", NoLocks: "no locks available",
}

// Error gives the kind in words.
func (k Kind) Error() string {
	if int(k) < len(kindText) {
		return kindText[k]
	}
	return fmt.Sprintf("error kind %d", uint16(k))
}

// Kinds returns every kind, for tables that must name them all.
func Kinds() []Kind {
	all := make([]Kind, kindEnd)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a Kind with the text that tells a person what happened and what to do.
type Error struct {
	Kind Kind
	Text string
}

// Error gives the kind in words, and the text.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Text
}

// Unwrap makes errors.Is(err, kind) work.
func (e *Error) Unwrap() error { return e.Kind }

// Errorf makes an Error of the given kind.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Text: fmt.Sprintf(format, args...)}
}
