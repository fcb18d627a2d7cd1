package conf

import (
	"math"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokEOF     tokenKind = iota
	tokPunct             // one of ( ) [ ] { } = : ; ,
	tokName              // also a word that lacks its quotes
	tokScalar            // an integer, a float, a boolean or one string literal, in token.value
	tokInvalid           // reported already
)

type token struct {
	kind  tokenKind
	pos   Pos
	text  string // as it stands in the file
	value Value  // tokScalar
}

// is tells whether the token is this punctuation.
func (t token) is(punct string) bool { return t.kind == tokPunct && t.text == punct }

// assigns tells whether the token is the = or : between a name and its value.
func (t token) assigns() bool { return t.is("=") || t.is(":") }

// terminates tells whether the token may end a setting.
func (t token) terminates() bool { return t.is(";") || t.is(",") }

// closes tells whether the token is a closing bracket.
func (t token) closes() bool { return t.is(")") || t.is("]") || t.is("}") }

// ends tells whether a container may end here.
func (t token) ends() bool { return t.closes() || t.kind == tokEOF }

// opens tells whether the token is an opening bracket.
func (t token) opens() bool { return t.is("(") || t.is("[") || t.is("{") }

func (t token) describe() string {
	if t.kind == tokEOF {
		return "the end of the file"
	}
	if strings.HasPrefix(t.text, `"`) {
		return "the string " + quoteShort(t.value.Str)
	}
	return quoteShort(t.text)
}

// lexer cuts the text into tokens. It never fails: it reports what it cannot read and goes on behind it.
type lexer struct {
	file string
	src  string
	off  int
	line int
	bol  int // offset of the first byte of the line
	out  *problems
}

func newLexer(file string, data []byte, out *problems) *lexer {
	src := strings.TrimPrefix(string(data), "\ufeff")
	return &lexer{file: file, src: src, line: 1, out: out}
}

func (l *lexer) pos() Pos { return Pos{File: l.file, Line: l.line, Column: l.off - l.bol + 1} }

// rest tells whether the unread text begins with s.
func (l *lexer) rest(s string) bool { return strings.HasPrefix(l.src[l.off:], s) }

func (l *lexer) next() token {
	l.blank()
	t := token{pos: l.pos()}
	if l.off == len(l.src) {
		return t
	}
	c := l.src[l.off]
	switch {
	case isPunct(c):
		t.kind, t.text = tokPunct, l.src[l.off:l.off+1]
		l.off++
	case c == '"':
		l.text(&t)
	case c == '@':
		l.directive(&t)
	default:
		l.word(&t)
	}
	return t
}

// blank skips white space and comments.
func (l *lexer) blank() {
	for l.off < len(l.src) {
		switch c := l.src[l.off]; {
		case c == '\n':
			l.off++
			l.line, l.bol = l.line+1, l.off
		case isSpace(c):
			l.off++
		case c == '#' || l.rest("//"):
			l.skipLine()
		case l.rest("/*"):
			l.comment()
		default:
			return
		}
	}
}

// skipLine goes to the line feed, or to the end of the file.
func (l *lexer) skipLine() {
	if n := strings.IndexByte(l.src[l.off:], '\n'); n >= 0 {
		l.off += n
		return
	}
	l.off = len(l.src)
}

func (l *lexer) comment() {
	start := l.pos()
	n := strings.Index(l.src[l.off+2:], "*/")
	if n < 0 {
		l.out.add(start, `the comment "/*" is never closed: end it with "*/"`)
		l.off = len(l.src)
		return
	}
	end := l.off + 2 + n + 2
	for ; l.off < end; l.off++ {
		if l.src[l.off] == '\n' {
			l.line, l.bol = l.line+1, l.off+1
		}
	}
}

// directive refuses @include: a file that means what it says is worth more, and it keeps every problem in one file.
func (l *lexer) directive(t *token) {
	start := l.off
	l.skipLine()
	t.kind, t.text = tokInvalid, strings.TrimSpace(l.src[start:l.off])
	l.out.add(t.pos, "found %s, but a file cannot include another: write its settings here", quoteShort(t.text))
}

// word reads a run of bytes up to a delimiter and says what it is.
func (l *lexer) word(t *token) {
	start := l.off
	for l.off < len(l.src) && !isDelimiter(l.src[l.off]) {
		if l.off > start && (l.rest("//") || l.rest("/*")) {
			break
		}
		l.off++
	}
	t.text = l.src[start:l.off]
	t.kind, t.value = l.classify(t.pos, t.text)
}

func (l *lexer) classify(at Pos, s string) (tokenKind, Value) {
	v := Value{Pos: at}
	switch {
	case strings.EqualFold(s, "true") || strings.EqualFold(s, "false"):
		v.Kind, v.Bool = Bool, len(s) == len("true")
	case isName(s):
		return tokName, v
	case looksInt(s):
		n, problem := parseInt(s)
		if problem != "" {
			l.out.add(at, "%s %s", quoteShort(s), problem)
			return tokInvalid, v
		}
		v.Kind, v.Int = Int, n
	default:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !looksFloat(s) || math.IsInf(f, 0) {
			l.out.add(at, "%s is neither a name nor a number: text needs quotes", quoteShort(s))
			return tokInvalid, v
		}
		v.Kind, v.Float = Float, f
	}
	return tokScalar, v
}

func isPunct(c byte) bool { return strings.IndexByte("()[]{}=:;,", c) >= 0 }

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v'
}

func isDelimiter(c byte) bool { return isPunct(c) || isSpace(c) || c == '"' || c == '#' || c == '@' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isName follows libconfig: a letter or *, then letters, digits, *, - and _.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && c != '*' && (i == 0 || !isDigit(c) && c != '-' && c != '_') {
			return false
		}
	}
	return s != ""
}
