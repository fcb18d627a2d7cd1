package conf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse holds the parser to its promises for any input: no panic, bounded output, positions within the file, and
// what is accepted survives Format.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	require.NoError(f, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, s := range []string{
		"a = ( { b = [ 1, 2.5, 0x3L ]; }, \"x\\x41\" \"y\" );", "a = ((((", "}])", "a = \"\\", "/*", "@include \"x\"", "a = = ; b c = ( d = 1; ) , e",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := Parse("f", data)
		require.NotNil(t, root)
		checkTree(t, root, 0)
		require.LessOrEqual(t, len(Problems(err)), maxProblems+1)

		e, warnings, err := ParseExport("f", data)
		require.Equal(t, err == nil, e != nil)
		require.LessOrEqual(t, len(warnings), maxProblems)
		if e != nil {
			again, _, err := ParseExport("again", e.Format())
			require.NoError(t, err)
			require.Equal(t, string(e.Format()), string(again.Format()))
			clearPos(e)
			clearPos(again)
			require.Equal(t, e, again)
		}
		s, err := ParseStorage("f", data)
		require.Equal(t, err == nil, s != nil)
		if s != nil {
			again, err := ParseStorage("again", s.Format())
			require.NoError(t, err)
			require.Equal(t, string(s.Format()), string(again.Format()))
		}
	})
}

func checkTree(t *testing.T, v *Value, depth int) {
	if depth > MaxDepth || v.Pos.Line < 1 || v.Pos.Column < 1 {
		t.Fatalf("depth %d at %s", depth, v.Pos)
	}
	for _, item := range v.Items {
		checkTree(t, item, depth+1)
	}
	for _, s := range v.Settings {
		checkTree(t, s.Value, depth+1)
	}
}

// FuzzQuote writes any string as a literal that is read back.
func FuzzQuote(f *testing.F) {
	f.Add("a \"b\"\\\n\x00\xff\u2028\ufffd")
	f.Fuzz(func(t *testing.T, s string) {
		root, err := Parse("f", []byte("a = "+quote(s)+";"))
		if len(s) < MaxFileBytes/5 {
			require.NoError(t, err)
			require.Equal(t, s, root.Lookup("a").Str)
		}
	})
}
