// Package vocab holds the words of Rozo as Go types: identities, versions,
// layouts, distributions, attributes and the kinds of error that cross the
// wire. Every other package speaks in these types; this one imports nothing of
// the project and does no I/O.
//
// The words are those of RozoFS: a file is cut into blocks; the Mojette
// transform turns each block into forward projections, any inverse of which
// rebuild it; they are spread over safe storages. A storage is named by the
// cluster (cid) and its storage id (sid) in it, clusters add up to a volume
// (vid), and an export (eid) is a mountable namespace on a volume.
package vocab
