package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseReadsEveryKindOfValue(t *testing.T) {
	root, err := Parse("f", []byte("\ufeff"+`
# comment
a = -12; b : +0x1fL, c = 9223372036854775807LL   // no terminator
d = .5; e = 1e3; f = -2.5E-1
g = tRUE; h = False
i = "x\n\t\r\f\v\a\b\\\"\x41é" /* between */ "y"   # and here
      "z";
j = [ 1, 2, ]; k = ( 1, "two", [ ], ( ), { l = 3 }, ); m = { };
*n-1_x = 1;;
`))
	require.NoError(t, err)
	require.Equal(t, int64(-12), root.Lookup("a").Int)
	require.Equal(t, int64(31), root.Lookup("b").Int)
	require.Equal(t, int64(9223372036854775807), root.Lookup("c").Int)
	require.Equal(t, 0.5, root.Lookup("d").Float)
	require.Equal(t, 1000.0, root.Lookup("e").Float)
	require.Equal(t, -0.25, root.Lookup("f").Float)
	require.True(t, root.Lookup("g").Bool)
	require.Equal(t, Bool, root.Lookup("h").Kind)
	require.False(t, root.Lookup("h").Bool)
	require.Equal(t, "x\n\t\r\f\v\a\b\\\"Aéyz", root.Lookup("i").Str)
	require.Len(t, root.Lookup("j").Items, 2)
	require.Equal(t, Array, root.Lookup("j").Kind)
	k := root.Lookup("k").Items
	require.Equal(t, []Kind{Int, String, Array, List, Group}, []Kind{k[0].Kind, k[1].Kind, k[2].Kind, k[3].Kind, k[4].Kind})
	require.Equal(t, Pos{File: "f", Line: 8, Column: 48}, k[4].Lookup("l").Pos)
	require.Equal(t, "f:8:48", k[4].Lookup("l").Pos.String())
	require.Equal(t, Pos{File: "f", Line: 8, Column: 44}, k[4].Settings[0].Pos)
	require.Equal(t, Group, root.Lookup("m").Kind)
	require.Equal(t, int64(1), root.Lookup("*n-1_x").Int)
	require.Nil(t, root.Lookup("o"))
}

func TestParseProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`@include "other.conf"` + "\na = ;", `
f:1: found "@include \"other.conf\"", but a file cannot include another: write its settings here
f:2: found ";", expected a value`},
		{"a 1;\nb = 2 3;\nc = 4;", `
f:1: found "1" after the name "a", expected a = value;
f:2: found "3" after the value of b, expected ";"`},
		{"a =\nb = 2;\nc", `
f:2: found "b", expected a value
f:3: found the end of the file after the name "c", expected c = value;`},
		{"a = 010; b = 99999999999999999999; c = 100G; d = 10.0.0.1; e = /srv/x; f = 0x; g = --1; h = 1e999;", `
f:1: "010" starts with 0, which some read as octal: drop the 0, or begin with 0x for hexadecimal
f:1: "99999999999999999999" is not an integer of 64 bits
f:1: "100G" is neither a name nor a number: text needs quotes
f:1: "10.0.0.1" is neither a name nor a number: text needs quotes
f:1: "/srv/x" is neither a name nor a number: text needs quotes
f:1: "0x" is neither a name nor a number: text needs quotes
f:1: "--1" is not an integer of 64 bits
f:1: "1e999" is neither a name nor a number: text needs quotes`},
		{"a = node1:41001;\nb = 1;", `
f:1: found "node1", expected a value: text needs quotes`},
		{`a = "\q\x4g\é";`, `
f:1: \q is no escape sequence, expected one of \n \t \r \f \v \a \b \\ \" \xHH
f:1: \x is no escape sequence, expected one of \n \t \r \f \v \a \b \\ \" \xHH
f:1: \é is no escape sequence, expected one of \n \t \r \f \v \a \b \\ \" \xHH`},
		{"a = \"open;\r\nb = \"open\\", `
f:1: the string "open;" is not closed on its line: end it with a quote, write line feeds as \n
f:2: the string "open" is not closed on its line: end it with a quote, write line feeds as \n`},
		{"a = 1; /* open\n\n", `
f:1: the comment "/*" is never closed: end it with "*/"`},
		{"a = 1; } b = ); [ c = 2; \"x\" d = 3;", `
f:1: found "}", but no "{" is open: delete it
f:1: found ")", expected a value
f:1: found ")", but no "(" is open: delete it
f:1: found "[", expected a setting: name = value;`},
		{"a = { b = 1; b = 2; };\na = 3;", `
f:1: b is set twice in this group, first at line 1: delete one
f:2: a is set twice in this group, first at line 1: delete one`},
		{`a = [ 1, "2", ( ), 3.0, x ];`, `
f:1: found a string in an array of which the first member is an integer: expected one kind only, or a list ( )
f:1: found a list in an array [ ]: expected scalars only, or a list ( )
f:1: found a float in an array of which the first member is an integer: expected one kind only, or a list ( )
f:1: found "x", expected a value: text needs quotes`},
		{`a = ( , 1,, 2 3 = 4; 5 ); b = ( { c = 1 ) ; d = ( 1 ] );`, `
f:1: found ",", expected a value or ")"
f:1: found ",", expected a value or ")"
f:1: found "3", expected "," or ")"
f:1: found "=", expected "," or ")"
f:1: found ";", but the "(" of line 1 is open: expected "," or ")"
f:1: found ")", but the "{" of line 1 is open: expected "}"
f:1: found "]", but no "[" is open: delete it`},
		{"a = ( b = 1; c = ( 1, 2 ); );\nd = ;", `
f:1: found the setting "b" directly in a list: settings need braces, ( { name = value; } )
f:2: found ";", expected a value`},
		{"a = ( 1, 2;\nb = 3;\nc = ;", `
f:1: found ";", but the "(" of line 1 is open: expected "," or ")"
f:3: found ";", expected a value`},
		{"true = 1;\n= 2;\na = = 3;", `
f:1: found "true", expected a setting: name = value;
f:2: found "=", expected a setting: name = value;
f:3: found "=", expected a value`},
	} {
		t.Run(c.text, func(t *testing.T) {
			root, err := Parse("f", []byte(c.text))
			require.NotNil(t, root)
			require.Equal(t, strings.TrimPrefix(c.want, "\n"), strings.Join(Problems(err), "\n"))
		})
	}
}

func TestParseReadsOnAfterAMistake(t *testing.T) {
	root, err := Parse("f", []byte("a = ;\nb = 1 }\nc = ( 1, x, 3 );\nd 5\ne = 5;"))
	require.Error(t, err)
	require.Equal(t, Invalid, root.Lookup("a").Kind)
	require.Equal(t, int64(1), root.Lookup("b").Int)
	require.Len(t, root.Lookup("c").Items, 3)
	require.Equal(t, int64(5), root.Lookup("e").Int)
	require.True(t, root.Damaged)
}

func TestLimitsAreNamed(t *testing.T) {
	nested := func(n int) []byte { return []byte("a = " + strings.Repeat("(", n) + strings.Repeat(")", n) + ";") }
	_, err := Parse("f", nested(MaxDepth))
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		text []byte
		want []string
	}{
		{"depth", nested(MaxDepth + 1), []string{"f:1: brackets are nested more than 32 deep"}},
		{"depth of an attack", []byte("a = " + strings.Repeat("({a=", MaxFileBytes/5)), []string{"f:1: brackets are nested more than 32 deep"}},
		{"values", []byte("a = (" + strings.Repeat("1,", MaxNodes) + ");"), []string{"f:1: more than 100000 values in one file: split the configuration"}},
		{"size", make([]byte, MaxFileBytes+1), []string{"f: the file is larger than 1048576 bytes, the limit for a configuration"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", c.text)
			require.Equal(t, c.want, Problems(err))
			_, _, err = ParseExport("f", c.text)
			require.Equal(t, c.want, Problems(err), "nothing is said of what was not read")
		})
	}
	t.Run("problems", func(t *testing.T) {
		_, err := Parse("f", []byte(strings.Repeat("a = ;\n", 60)))
		lines := Problems(err)
		require.Len(t, lines, maxProblems+1)
		require.Equal(t, "f: 19 more problems are not listed", lines[maxProblems])
	})
	t.Run("work", func(t *testing.T) { // quadratic work would take minutes here
		for _, unit := range []string{`\";`, `";`, "a{", "({", "a=", "a=(b=", "a;", "/*", "[1", `""`, "\"\n", "a = { b = 1; };\n"} {
			_, _, err := ParseExport("f", []byte("x = \""+strings.Repeat(unit, MaxFileBytes/4/len(unit))))
			require.LessOrEqual(t, len(Problems(err)), maxProblems+1)
		}
		var keys strings.Builder
		for i := 0; i < MaxNodes/4; i++ {
			fmt.Fprintf(&keys, "k%x=1;", i)
		}
		_, _, err := ParseExport("f", []byte(keys.String()))
		require.Len(t, Problems(err), maxProblems+1)
	})
	t.Run("text in messages", func(t *testing.T) {
		name := strings.Repeat("n", 10000)
		_, _, err := ParseExport("f", []byte(name+" = 1; "+name+" 2; layout = \""+name+"\"; x = "+name+";"))
		for _, line := range Problems(err) {
			require.Less(t, len(line), 200)
		}
	})
}

func TestErrorsAreReachable(t *testing.T) {
	_, _, err := ParseExport("f", []byte("\n  volumes = 1; exports = ( );"))
	wrapped := fmt.Errorf("start exportd: %w", err)
	var one *Error
	require.ErrorAs(t, wrapped, &one)
	require.Equal(t, &Error{File: "f", Line: 2, Column: 13, Problem: "volumes is 1, expected a list of groups, ( { ... }, ... )"}, one)
	require.Equal(t, []string{"f:2: volumes is 1, expected a list of groups, ( { ... }, ... )"}, Problems(wrapped))
	require.Equal(t, []string{"other"}, Problems(errors.New("other")))
	require.Nil(t, Problems(nil))

	_, _, err = LoadExport("testdata/none.conf")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []string{"testdata/none.conf: the file cannot be read: no such file or directory"}, Problems(err))
	_, err = LoadStorage("testdata")
	require.Equal(t, []string{"testdata: the file cannot be read: is a directory"}, Problems(err))
}
