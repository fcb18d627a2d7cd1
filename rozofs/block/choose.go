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
	Newer    bool // a version above the chosen one is in sight: never acknowledged
}

// Choose applies the rule of reading to the answers of a block's s storages, in
// any order. Storages that overwrite in place can lose an acknowledged version
// when an overwrite is cut short; k storages that have something then show it,
// for what was never acknowledged, or was discarded, lies on fewer in sight.
func Choose(l vocab.Layout, answers []Answer) Choice {
	k := int(l.Inverse)
	var newest, best vocab.Version
	answered, present := 0, 0
	for i := range answers {
		a := &answers[i]
		if a.State == Silent {
			continue
		}
		answered++
		if a.State != Present {
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
	enough := answered >= int(l.Safe)-int(l.Forward)+k
	switch {
	case !best.Absent() && (best == newest || enough):
		return Choice{Decision: Readable, Version: best, Newer: best != newest}
	case best.Absent() && enough && present >= k:
		return Choice{Decision: Torn, Newer: true}
	case newest.Absent() && answered >= k, best.Absent() && enough:
		return Choice{Decision: Zeros, Newer: !newest.Absent()}
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
