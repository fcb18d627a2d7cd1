// Package archtest holds the arrows of the architecture by a test: who may
// import whom. It has no other code.
//
//	cmd/*  →  rozofsmount | exportd | storaged | provision | bench  →  rozofs  →  mojette
//
// The rules are about what programs are built of; tests may import more, since
// they bring parts together.
package archtest
