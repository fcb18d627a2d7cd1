// Command rozo-bench measures.
//
//	rozo-bench mojette [--quick] [--element BYTES] [--json | --benchstat]
//	rozo-bench fs --dir DIR [flags]
//	rozo-bench fs --up [flags]
//
// mojette measures the erasure code, against another and against memory; fs a
// mounted file system, against other directories. `rozo-bench COMMAND --help`
// tells the flags. The exit status is 0 when all was measured, whatever the
// figures; 1 when something failed; 2 when the command was not understood.
package main
