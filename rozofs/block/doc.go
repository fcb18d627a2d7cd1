// Package block decides, from what storages answer, what a block is: which
// version counts, whether it can be rebuilt, and whether it may be shown. All of
// it is pure: no I/O, no clock, no goroutine. The client, storaged and exportd
// share it so that everybody is told the same.
//
// Below, k = inverse, n = forward, s = safe. A version is complete, and may be
// acknowledged, when n different projections of it lie on n storages. Because
// k + n > s:
//
//   - any k storages that answer include one that has an acknowledged version or
//     a newer one, so k answers that agree, with nothing newer among them, are
//     the answer;
//   - among s − n + k storages that answer, an acknowledged version has at least
//     k different projections, so the newest version with k of them is the
//     answer, and anything newer was never acknowledged.
//
// A storage that has nothing answers absent, the lowest version. One that cannot
// know (a slot that fails its checksum, a storage not reached) counts as no
// answer.
package block
