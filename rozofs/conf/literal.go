package conf

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// looksInt tells whether s is meant as an integer, which parseInt may still refuse.
func looksInt(s string) bool {
	s = strings.TrimLeft(s, "+-")
	s = strings.TrimRight(s, "L")
	if s == "" {
		return false
	}
	if hex := strings.TrimPrefix(strings.ToLower(s), "0x"); len(hex) < len(s) {
		return hex != "" && strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}

// looksFloat tells whether s, which strconv accepts, is a float of libconfig too (which has no Inf, NaN, 1_000 or hexadecimal floats).
func looksFloat(s string) bool { return strings.Trim(s, "0123456789+-.eE") == "" }

// parseInt reads a decimal or hexadecimal integer with an optional suffix L or LL; problem is empty when it could.
func parseInt(s string) (n int64, problem string) {
	digits, base := s, 10
	if strings.HasSuffix(digits, "L") {
		digits = strings.TrimSuffix(strings.TrimSuffix(digits, "L"), "L")
	}
	sign := ""
	if digits[0] == '-' || digits[0] == '+' {
		sign, digits = digits[:1], digits[1:]
	}
	switch {
	case strings.HasPrefix(digits, "0x"), strings.HasPrefix(digits, "0X"):
		digits, base = digits[2:], 16
	case len(digits) > 1 && digits[0] == '0':
		return 0, "starts with 0, which some read as octal: drop the 0, or begin with 0x for hexadecimal"
	}
	n, err := strconv.ParseInt(sign+digits, base, 64)
	if err != nil {
		return 0, "is not an integer of 64 bits"
	}
	return n, ""
}

// text reads one string literal. A literal ends on its line: the usual mistake is a forgotten quote, and the message
// should name the line that lacks it.
func (l *lexer) text(t *token) {
	start := l.off
	t.kind, t.value = tokScalar, Value{Pos: t.pos, Kind: String}
	var b strings.Builder
	for l.off++; ; {
		if l.off == len(l.src) || l.src[l.off] == '\n' {
			l.out.add(t.pos, `the string %s is not closed on its line: end it with a quote, write line feeds as \n`,
				quoteShort(strings.TrimSpace(b.String())))
			t.kind = tokInvalid
			// Go back to where the quote is likely to belong. Not when there are escaped quotes: each would begin a
			// string that runs to the end of the line, again and again.
			rest := l.src[start+1 : l.off]
			if n := strings.IndexAny(rest, ";,)]}"); n >= 0 && !strings.Contains(rest, `"`) {
				l.off = start + 1 + n
			}
			break
		}
		c := l.src[l.off]
		if c == '"' {
			l.off++
			break
		}
		if c == '\\' {
			l.escape(&b)
			continue
		}
		b.WriteByte(c)
		l.off++
	}
	t.text, t.value.Str = l.src[start:l.off], b.String()
}

const escapes = `n` + "\n" + `t` + "\t" + `r` + "\r" + `f` + "\f" + `v` + "\v" + `a` + "\a" + `b` + "\b" + `\\""`

// escape reads a backslash and what belongs to it.
func (l *lexer) escape(b *strings.Builder) {
	if l.off+1 == len(l.src) || l.src[l.off+1] == '\n' {
		l.off++ // the end of the line is reported by text
		return
	}
	c := l.src[l.off+1]
	for i := 0; i < len(escapes); i += 2 {
		if escapes[i] == c {
			b.WriteByte(escapes[i+1])
			l.off += 2
			return
		}
	}
	if c == 'x' && l.off+4 <= len(l.src) {
		if n, err := strconv.ParseUint(l.src[l.off+2:l.off+4], 16, 8); err == nil {
			b.WriteByte(byte(n))
			l.off += 4
			return
		}
	}
	_, size := utf8.DecodeRuneInString(l.src[l.off+1:])
	l.out.add(l.pos(), `%s is no escape sequence, expected one of \n \t \r \f \v \a \b \\ \" \xHH`, `\`+l.src[l.off+1:l.off+1+size])
	l.off += 1 + size
}

// quote writes a string literal that the lexer reads back as s.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case s[i] == '"' || s[i] == '\\':
			b.WriteString(`\` + s[i:i+1])
		case s[i] == '\n':
			b.WriteString(`\n`)
		case s[i] == '\t':
			b.WriteString(`\t`)
		case s[i] < ' ' || s[i] == 0x7f || r == utf8.RuneError && size == 1:
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	b.WriteByte('"')
	return b.String()
}
