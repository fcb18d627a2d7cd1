// Package mojette is the Mojette transform over GF(2), and an erasure code made of it. It rebuilds data from any k of n
// pieces with nothing but XOR. It does no I/O, starts no goroutine and logs nothing.
//
// # When to use what
//
//   - [Code] with shards (Encode, Reconstruct, Verify, Split, Join): an erasure code for data that you keep as k data
//     shards and n−k parity shards. The calls are those of Reed-Solomon packages; the difference is that parity shards are
//     somewhat longer than data shards.
//   - [Code] with blocks (EncodeBlock, DecodeBlock, VerifyBlock): one contiguous block, and projections in buffers of your
//     own; nothing is allocated. This is what the file system stores.
//   - [Transform]: the transform itself, for a grid of any size and directions of any slope.
//
// # Concepts
//
// A grid has rows l = 0 … R−1 and columns c = 0 … K−1. Its pixels, called elements where their width counts, are 8, 16, 32
// or 64 bytes wide; addition is XOR. A projection in the [Direction] (p, q) sums the pixels along lines: pixel (l, c) falls
// in bin
//
//	c·q + l·p − off,  off = (R−1)·p if p < 0, and 0 otherwise
//
// and there are (K−1)·q + (R−1)·|p| + 1 bins. Katz's criterion tells whether a set of projections determines the grid: the
// sum of |p| reaches K or the sum of q reaches R. See [Katz].
//
// A Code cuts a block of B bytes, a multiple of k·ElementBytes, into R = k rows: row l is bytes l·B/k to (l+1)·B/k. All its
// directions have q = 1, so that by Katz's criterion any k of them do, and projection p has K + |p|·(k−1) bins. Without
// Directions in its Config it is the code of RozoFS, p = i − n/2 for projection i. A systematic code has the rows
// themselves as projections 0 … k−1, and sums with p = 0, 1, −1, 2, … as the others.
//
// # What holds always
//
//   - Any k projections of a block rebuild it, for every block length; an empty block has empty projections.
//   - The bytes of a projection are determined by the Config and the block alone: not by the machine, nor by the version of
//     this package.
//   - Sizes are exact. A projection is as long as its bins, never padded to the longest.
//   - Arguments are only read where this says nothing else, and nothing keeps a reference to them.
//   - Codes and Transforms are immutable and may be used by several goroutines at once.
//
// # What fails, and how
//
// Nothing panics on the content of data, nor on wrong sizes of data. Errors are [ConfigError], [SizeError],
// [InsufficientError], [KatzError] and [InconsistentError]; errors.Is knows their kinds, [ErrInsufficient] and
// [ErrInconsistent]. An index beyond the projections, as an argument of a method that returns no error, panics like a slice.
//
// Decoding trusts what it is given: a wrong projection makes a wrong block, silently. Whoever cannot trust storage or
// network keeps a checksum with every projection, or calls VerifyBlock.
//
// The transform is no encryption: any projection tells something of the data.
//
// # How it is rebuilt
//
// Evenly spaced missing rows, which includes all rows of a code that is not systematic, by Newton's interpolation on whole
// rows; other sets of rows by a sweep in the order of Normand, Kingston and Évenou, generalised to rows with gaps; grids
// with other slopes by peeling off univocal bins.
//
// # Literature
//
//   - J.-P. Guédon, N. Normand: The Mojette transform: the first ten years. DGCI 2005. And J. Guédon (ed.): The Mojette
//     Transform: Theory and Applications. ISTE/Wiley 2009.
//   - N. Normand, A. Kingston, P. Évenou: A geometry driven reconstruction algorithm for the Mojette transform. DGCI 2006.
//   - M. Katz: Questions of Uniqueness and Resolution in Reconstruction from Projections. Springer 1978.
//   - draft-haynes-nfsv4-mojette-encoding, IETF: the systematic and the non-systematic encoding.
package mojette
