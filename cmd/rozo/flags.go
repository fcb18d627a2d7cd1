package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// flags is a set of flags with a help text of its own.
type flags struct {
	*flag.FlagSet
	help string // before the flags
	more string // after them

	operands []string // after parse: the arguments that are no flags
}

func newFlags(name, help, more string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), help: help, more: more}
	f.SetOutput(io.Discard)
	return f
}

// dir is the flag that all commands have.
func (f *flags) dir() *string {
	return f.String("dir", "./"+admin.DefaultDir, "`directory` of the cluster")
}

// parse reads the flags, wherever they stand among the arguments, of which want
// names the others. It writes the help to out when asked to.
func (f *flags) parse(args []string, out io.Writer, want ...string) error {
	var rest []string
	for {
		err := f.Parse(args)
		if err == flag.ErrHelp {
			fmt.Fprint(out, f.text())
			return err
		}
		if err != nil {
			return f.wrong(err.Error())
		}
		if args = f.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	if len(rest) < len(want) {
		return f.wrong(want[len(rest)] + " is missing")
	}
	if len(rest) > len(want) {
		return f.wrong(fmt.Sprintf("unexpected argument %q", rest[len(want)]))
	}
	f.operands = rest
	return nil
}

func (f *flags) wrong(text string) error {
	return &admin.UsageError{Text: fmt.Sprintf("%s: %s; rozo %s --help tells more", f.Name(), text, f.Name())}
}

// text is the help, with flags written as the examples write them.
func (f *flags) text() string {
	var b bytes.Buffer
	b.WriteString(f.help + "\n\nFlags:\n")
	f.VisitAll(func(g *flag.Flag) {
		value, usage := flag.UnquoteUsage(g)
		left := strings.TrimSpace("--" + g.Name + " " + value)
		if g.DefValue != "" && g.DefValue != "false" && g.DefValue != "0" {
			usage += " (default " + g.DefValue + ")"
		}
		fmt.Fprintf(&b, "  %-18s %s\n", left, strings.ReplaceAll(usage, "\n", "\n"+strings.Repeat(" ", 21)))
	})
	b.WriteString("\n" + f.more)
	return b.String()
}
