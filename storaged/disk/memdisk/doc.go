// Package memdisk is a disk in memory for tests of storaged and of whole clusters. It
// loses its power ([Disk.LosePower]): of what was not synced any part may be there
// afterwards, sector by sector, and of what was synced all. It fails on command
// ([Disk.SetFault]), at the call that a test chooses by name or by number, or takes its time ([Disk.SetDelay]), and
// its bits rot ([Disk.Flip]). What happens by chance comes from the *rand.Rand that is given, so the
// same calls and the same seed make the same disk.
package memdisk
