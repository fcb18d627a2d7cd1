package block

import "github.com/rozofs-go/rozo/rozofs/vocab"

// State is what one storage says of one block.
type State uint8

const (
	Silent  State = iota // no answer: not asked, not reached, or cannot know
	Absent               // it has nothing
	Present              // it has a projection
)

// Answer is one storage's answer for one block.
type Answer struct {
	State      State
	Projection uint8
	Version    vocab.Version
}

// Decision is what the answers amount to.
type Decision uint8

const (
	Undecided Decision = iota // more storages must answer
	Zeros                     // the block was never written, or never acknowledged
	Readable                  // Choice.Version has k different projections
	Torn                      // an overwrite was cut short: no version has k projections any more
)

// Choice is the outcome of Choose.
type Choice struct {
	Decision Decision
	Version  vocab.Version
	// Doubt says that it holds only if all who could answer have, and answered when the
	// others had: a version above the chosen one is in sight, or so few lack the block that
	// something could be wrong with them alone.
	Doubt bool
}

// Choose applies the rule of reading to the answers of a block's s storages, by
// position. Storages that overwrite in place can lose an acknowledged version
// when an overwrite is cut short; k storages that have something then show it,
// for what was never acknowledged, or was discarded, lies on fewer in sight.
//
// That k say they have nothing is no proof while a projection comes home: its home may have
// been asked before, and the spare after. Homes only gain, so k of them are, if one more than
// can have missed a write is among all: a storage may have lost the file.
func Choose(l vocab.Layout, answers []Answer) Choice {
	k := int(l.Inverse)
	var newest, best vocab.Version
	answered, present, absentHomes := 0, 0, 0
	for i := range answers {
		a := &answers[i]
		if a.State == Silent {
			continue
		}
		answered++
		if a.State != Present {
			if i < int(l.Forward) {
				absentHomes++
			}
			continue
		}
		present++
		if a.Version.Compare(best) <= 0 {
			continue
		}
		if a.Version.Compare(newest) > 0 {
			newest = a.Version
		}
		if Different(answers, a.Version) >= k {
			best = a.Version
		}
	}
	enough := answered >= l.ReadQuorum()
	switch {
	case !best.Absent() && (best == newest || enough):
		return Choice{Decision: Readable, Version: best, Doubt: best != newest}
	case best.Absent() && enough && present >= k:
		return Choice{Decision: Torn, Doubt: true}
	case newest.Absent() && answered >= k, best.Absent() && enough:
		sure := newest.Absent() && absentHomes >= k && answered >= int(l.Safe-l.Forward)+2
		return Choice{Decision: Zeros, Doubt: !sure}
	}
	return Choice{}
}

// Different counts the different projections of a version among the answers.
func Different(answers []Answer, v vocab.Version) int {
	var seen uint64
	n := 0
	for i := range answers {
		a := &answers[i]
		if bit := uint64(1) << (a.Projection & 63); a.State == Present && a.Version == v && seen&bit == 0 {
			seen |= bit
			n++
		}
	}
	return n
}
