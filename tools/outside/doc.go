// Package outside tests that a Go module outside of this one can use packages
// mojette and rozofs: it makes such a module, builds its programs without a
// network, and runs them. It has no code but the test.
package outside
