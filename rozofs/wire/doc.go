// Package wire is what Rozo's programs say to one another: frames over a stream
// connection, the messages in them, and the slot, the record of one projection
// that has the same bytes on the wire and on disk. docs/format.md gives the
// layout byte by byte.
//
// # Frames
//
// A frame is a 16-byte header, a body (a hand-encoded message) and a bulk part
// (slots). Requests and replies of both directions share one connection; a
// reply carries its request's number. Bodies are bounded by MaxBody, bulk by
// MaxBulk, the first frame of a peer to 4 KiB: a header that announces more
// closes the connection before anything is allocated.
//
// # Connections
//
// A Conn is symmetric: either end may Call, and either end serves with its
// Handler. The first frame each way is a Hello; ends that do not share a
// protocol version or a cluster part with an error that says so. A Conn owns
// two goroutines, a reader and a writer, and those of the requests being
// served, at most MaxServing; Close ends and joins them. All methods are safe
// for concurrent use.
//
// # Messages
//
// Each message has one method, Code, that both encodes and decodes. A decoder
// never reads past its input, bounds every count before it allocates, and
// ignores bytes after the fields it knows: newer minor versions append fields.
package wire
