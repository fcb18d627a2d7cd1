package conf

// members reads the values of a list or an array up to its closing bracket.
func (p *parser) members(l *Value, closer string) {
	opener := p.open[len(p.open)-1].text
	for {
		switch {
		case p.atSetting():
			l.Damaged = true
			if len(l.Items) > 0 { // the list ended before, without its bracket
				p.out.add(p.tok.pos, "found the setting %s, but the %q of line %d is open: expected %q",
					quoteShort(p.tok.text), opener, l.Pos.Line, closer)
				return
			}
			p.out.add(p.tok.pos, "found the setting %s directly in a list: settings need braces, ( { name = value; } )", quoteShort(p.tok.text))
			p.toCloser()
		case p.tok.is(";"):
			l.Damaged = true
			p.out.add(p.tok.pos, "found \";\", but the %q of line %d is open: expected \",\" or %q", opener, l.Pos.Line, closer)
			if p.ahead.kind == tokName || p.ahead.kind == tokEOF {
				return
			}
			p.advance()
		case p.tok.is(","), p.tok.assigns():
			p.out.add(p.tok.pos, "found %q, expected a value or %q", p.tok.text, closer)
			p.advance()
		case p.tok.ends():
			if p.end(l, closer) {
				return
			}
		default:
			p.member(l, closer)
		}
	}
}

// member reads one value and the comma behind it.
func (p *parser) member(l *Value, closer string) {
	v := p.value()
	l.Items = append(l.Items, v)
	switch {
	case p.tok.is(","):
		p.advance()
	case p.tok.terminates(), p.tok.closes(), p.tok.kind == tokEOF, p.atSetting(): // members decides
	case v.Kind == Invalid:
		p.skip()
		if p.tok.is(",") {
			p.advance()
		}
	default:
		p.out.add(p.tok.pos, "found %s, expected \",\" or %q", p.tok.describe(), closer)
		if p.tok.assigns() {
			p.advance()
		}
	}
}

// toCloser passes over everything up to the closing bracket of this level.
func (p *parser) toCloser() {
	for p.tok.kind != tokEOF && !p.tok.closes() {
		p.advance()
		for p.skip(); p.atSetting(); p.skip() {
			p.advance()
		}
	}
}

// checkArray holds an array to libconfig's rule: scalars of one kind.
func (p *parser) checkArray(a *Value) {
	want := Invalid
	for _, v := range a.Items {
		switch {
		case v.Kind == Invalid:
		case !v.Kind.scalar():
			p.out.add(v.Pos, "found %s in an array [ ]: expected scalars only, or a list ( )", v.Kind)
		case want == Invalid:
			want = v.Kind
		case v.Kind != want:
			p.out.add(v.Pos, "found %s in an array of which the first member is %s: expected one kind only, or a list ( )", v.Kind, want)
		}
	}
}
