package conf

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Pos is a place in a configuration file. The zero Pos belongs to values that were built in a program.
type Pos struct {
	File   string
	Line   int // from 1
	Column int // from 1, in bytes
}

// String gives FILE:LINE:COLUMN.
func (p Pos) String() string {
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Error is one problem of a configuration file. The functions of this package return several of them joined;
// errors.As finds the first, [Problems] lists them all.
type Error struct {
	File    string
	Line    int // from 1; 0 when the problem is the file as a whole
	Column  int // from 1, in bytes; 0 when the problem is the file as a whole
	Problem string
	Err     error // the cause when the operating system gave one, else nil
}

// Error gives FILE:LINE: PROBLEM, without the parts that are not known.
func (e *Error) Error() string { return place(e.File, e.Line) + e.Problem }

// Unwrap gives the operating system's error, so that errors.Is(err, fs.ErrNotExist) works.
func (e *Error) Unwrap() error { return e.Err }

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return file + ":" + strconv.Itoa(line) + ": "
}

// Problems lists what is wrong, one problem per string, in the order of the file. It looks through joined and wrapped
// errors; an error of another kind is one problem.
func Problems(err error) []string {
	if err == nil {
		return nil
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var all []string
			for _, one := range joined.Unwrap() {
				all = append(all, Problems(one)...)
			}
			return all
		}
	}
	return []string{err.Error()}
}

// problems collects what is wrong with one file, at most maxProblems: beyond that a list helps nobody.
type problems struct {
	list    []*Error
	more    int  // problems counted and not kept
	stopped bool // a limit was hit: what follows would be noise
}

// full tells whether further problems are only counted, or not even that.
func (p *problems) full() bool { return p.stopped || len(p.list) == maxProblems }

func (p *problems) add(at Pos, format string, args ...any) {
	e := &Error{File: at.File, Line: at.Line, Column: at.Column}
	if !p.full() {
		e.Problem = fmt.Sprintf(format, args...)
	}
	p.put(e)
}

func (p *problems) put(e *Error) {
	switch {
	case p.stopped:
	case len(p.list) == maxProblems:
		p.more++
	default:
		p.list = append(p.list, e)
	}
}

// sorted gives the problems in the order of the file: cross checks find theirs last, wherever they are.
func (p *problems) sorted() []*Error {
	slices.SortStableFunc(p.list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.list
}

func (p *problems) err(file string) error {
	if len(p.list) == 0 {
		return nil
	}
	var all []error
	for _, e := range p.sorted() {
		all = append(all, e)
	}
	if p.more > 0 {
		all = append(all, &Error{File: file, Problem: fmt.Sprintf("%d more problems are not listed", p.more)})
	}
	return errors.Join(all...)
}

// lines gives the same as text, for warnings.
func (p *problems) lines() []string {
	var all []string
	for _, e := range p.sorted() {
		all = append(all, e.Error())
	}
	return all
}
