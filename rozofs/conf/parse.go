package conf

import (
	"slices"
	"strings"
)

// Limits. A file beyond them is refused with an error that names the limit.
const (
	MaxFileBytes = 1 << 20 // size of a file
	MaxDepth     = 32      // brackets open at once
	MaxNodes     = 100_000 // values in a file; a sid takes three
	maxProblems  = 100     // problems that are listed
)

// Parse reads libconfig text and gives the group of its top-level settings. name is the file name in messages and
// positions. The error joins an *[Error] for each problem; the tree is not nil even then and holds what could be read.
func Parse(name string, data []byte) (*Value, error) {
	var out problems
	root := parse(name, data, &out)
	return root, out.err(name)
}

func parse(name string, data []byte, out *problems) *Value {
	if len(data) > MaxFileBytes {
		out.list = append(out.list, tooLarge(name))
		out.stopped = true
		return &Value{Pos: Pos{File: name, Line: 1, Column: 1}, Kind: Group, Damaged: true}
	}
	p := &parser{lex: newLexer(name, data, out), out: out}
	root := &Value{Pos: Pos{File: name, Line: 1, Column: 1}, Kind: Group}
	p.tok, p.ahead = p.lex.next(), p.lex.next()
	p.settings(root, "")
	return root
}

// parser is a recursive descent with two tokens in sight. After a mistake it goes on at the next place that looks like
// a setting or a member, so that one run finds all mistakes. Every loop takes a token or returns.
type parser struct {
	lex        *lexer
	tok, ahead token
	lastLine   int // line of the token before tok
	open       []token
	nodes      int
	truncated  bool // the file ended inside of brackets
	out        *problems
}

func (p *parser) advance() {
	p.lastLine = p.tok.pos.Line
	if p.out.stopped {
		p.tok = token{pos: p.tok.pos}
		return
	}
	p.tok, p.ahead = p.ahead, p.lex.next()
}

// stop ends the reading: a limit is exceeded.
func (p *parser) stop(at Pos, format string, args ...any) {
	p.out.add(at, format, args...)
	p.out.stopped = true
	p.tok = token{pos: p.tok.pos}
}

// atSetting tells whether `name =` comes next.
func (p *parser) atSetting() bool { return p.tok.kind == tokName && p.ahead.assigns() }

// startsSetting is atSetting at the beginning of a line, where it is hardly anything else.
func (p *parser) startsSetting() bool { return p.atSetting() && p.tok.pos.Line > p.lastLine }

// settings reads the members of a group up to its closing bracket, or to the end of the file when closer is empty.
func (p *parser) settings(g *Value, closer string) {
	first := make(map[string]int) // line of each name
	for {
		switch {
		case p.tok.kind == tokName:
			p.setting(g, first)
		case p.tok.terminates():
			p.advance()
		case p.tok.ends():
			if p.end(g, closer) {
				return
			}
		default:
			g.Damaged = true
			if p.tok.kind != tokInvalid {
				p.out.add(p.tok.pos, "found %s, expected a setting: name = value;", p.tok.describe())
			}
			p.skip()
		}
	}
}

// end deals with a closing bracket or the end of the file; true when the container ends here. A bracket that nothing
// has opened is reported and passed over.
func (p *parser) end(c *Value, closer string) bool {
	switch {
	case p.tok.kind == tokEOF:
		if closer == "" {
			c.Damaged = c.Damaged || p.truncated
		} else {
			c.Damaged, p.truncated = true, true
			p.out.add(c.Pos, "%q is never closed: expected %q before the end of the file", p.open[len(p.open)-1].text, closer)
		}
		return true
	case p.tok.text == closer:
		p.advance()
		return true
	}
	c.Damaged = true
	opener := map[string]string{")": "(", "]": "[", "}": "{"}[p.tok.text]
	if slices.ContainsFunc(p.open, func(t token) bool { return t.text == opener }) {
		p.out.add(p.tok.pos, "found %q, but the %q of line %d is open: expected %q",
			p.tok.text, p.open[len(p.open)-1].text, c.Pos.Line, closer)
		return true
	}
	p.out.add(p.tok.pos, "found %q, but no %q is open: delete it", p.tok.text, opener)
	p.advance()
	return false
}

func (p *parser) setting(g *Value, first map[string]int) {
	name := p.tok
	s := Setting{Pos: name.pos, Name: name.text, Value: &Value{Pos: name.pos}}
	p.advance()
	switch {
	case p.tok.assigns():
		p.advance()
		s.Value = p.value()
	case p.tok.kind == tokInvalid:
	default:
		p.out.add(p.tok.pos, "found %s after the name %s, expected %s = value;", p.tok.describe(), quoteShort(name.text), shorten(name.text))
	}
	if line, twice := first[s.Name]; twice {
		p.out.add(s.Pos, "%s is set twice in this group, first at line %d: delete one", shorten(s.Name), line)
	} else {
		first[s.Name] = s.Pos.Line
		g.Settings = append(g.Settings, s)
	}
	if p.tok.terminates() || p.tok.closes() || p.tok.kind == tokEOF || p.atSetting() {
		return // a terminator is taken by settings; it may be left out
	}
	if s.Value.Kind != Invalid && p.tok.kind != tokInvalid {
		p.out.add(p.tok.pos, "found %s after the value of %s, expected \";\"", p.tok.describe(), shorten(s.Name))
	}
	p.skip()
}

// skip goes to where reading can go on after a mistake: a terminator or a closing bracket of this level, or a line that
// begins with a setting.
func (p *parser) skip() {
	for depth := 0; p.tok.kind != tokEOF; p.advance() {
		switch {
		case p.tok.opens():
			depth++
		case p.tok.closes() && depth > 0:
			depth--
		case depth > 0:
		case p.tok.terminates(), p.tok.closes(), p.startsSetting():
			return
		}
	}
}

// value reads one value. It gives an Invalid one, and takes no token that may belong to what follows, where there is none.
func (p *parser) value() *Value {
	if p.nodes++; p.nodes > MaxNodes {
		p.stop(p.tok.pos, "more than %d values in one file: split the configuration", MaxNodes)
	}
	t := p.tok
	switch {
	case t.kind == tokScalar:
		p.advance()
		v := t.value
		if v.Kind == String {
			v.Str = p.adjacent(v.Str)
		}
		return &v
	case t.opens():
		return p.container()
	case t.kind == tokInvalid:
		p.advance()
	case t.kind == tokName && !p.startsSetting():
		p.out.add(t.pos, "found %s, expected a value: text needs quotes", t.describe())
		p.advance()
	default:
		p.out.add(t.pos, "found %s, expected a value", t.describe())
	}
	return &Value{Pos: t.pos}
}

// adjacent appends the literals that follow: "a" "b" is "ab".
func (p *parser) adjacent(s string) string {
	var b strings.Builder
	b.WriteString(s)
	for p.tok.kind == tokScalar && p.tok.value.Kind == String {
		b.WriteString(p.tok.value.Str)
		p.advance()
	}
	return b.String()
}

func (p *parser) container() *Value {
	opener := p.tok
	v := &Value{Pos: opener.pos}
	if len(p.open) == MaxDepth {
		p.stop(opener.pos, "brackets are nested more than %d deep", MaxDepth)
		return v
	}
	p.open = append(p.open, opener)
	p.advance()
	switch opener.text {
	case "{":
		v.Kind = Group
		p.settings(v, "}")
	case "(":
		v.Kind = List
		p.members(v, ")")
	case "[":
		v.Kind = Array
		p.members(v, "]")
		p.checkArray(v)
	}
	p.open = p.open[:len(p.open)-1]
	return v
}
