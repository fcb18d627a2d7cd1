package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// flags is a set of flags with a help text of its own.
type flags struct {
	*flag.FlagSet
	help, examples string
}

func newFlags(name, help, examples string) *flags {
	f := &flags{flag.NewFlagSet(name, flag.ContinueOnError), help, examples}
	f.SetOutput(io.Discard)
	return f
}

// parse reads the flags; there are no other arguments. It writes the help to out
// when asked to.
func (f *flags) parse(args []string, out io.Writer) error {
	err := f.Parse(args)
	if err == flag.ErrHelp {
		fmt.Fprint(out, f.text())
		return err
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return f.wrong(err)
}

// wrong makes an error one of usage.
func (f *flags) wrong(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{fmt.Errorf("%s: %w; rozo-bench %s --help tells more", f.Name(), err, f.Name())}
}

func (f *flags) text() string {
	var b bytes.Buffer
	b.WriteString(f.help + "\n\nFlags:\n")
	f.VisitAll(func(g *flag.Flag) {
		value, usage := flag.UnquoteUsage(g)
		fmt.Fprintf(&b, "  %-18s %s\n", strings.TrimSpace("--"+g.Name+" "+value), strings.ReplaceAll(usage, "\n", "\n"+strings.Repeat(" ", 21)))
	})
	b.WriteString("\nExamples:\n" + f.examples)
	return b.String()
}

// size is a flag of bytes: digits, and K, M, G or T.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

func (s *size) Set(text string) error {
	digits, shift := text, 0
	if i := len(text) - 1; i >= 0 {
		if at := strings.IndexByte("KMGT", text[i]); at >= 0 {
			digits, shift = text[:i], 10*(at+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("want a number of bytes above 0, with K, M, G or T at will, such as 512M")
	}
	*s = size(n << shift)
	return nil
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	if text == "" {
		return fmt.Errorf("want a directory")
	}
	*l = append(*l, text)
	return nil
}
