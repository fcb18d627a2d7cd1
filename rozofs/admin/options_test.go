package admin

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptionsOfANewCluster(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		want    Record // Storages aside
		n       int
	}{
		"defaults":   {Options{}, Record{Layout: "2,3,4", Export: "export_1", BlockBytes: 8192}, 4},
		"layout 1":   {Options{Layout: "1"}, Record{Layout: "4,6,8", Export: "export_1", BlockBytes: 8192}, 8},
		"everything": {Options{Layout: "2,4,5", Storages: 7, Systematic: new(true), Export: "home", BlockSize: "64k"}, Record{Layout: "2,4,5", Export: "home", BlockBytes: 65536, Systematic: true}, 7},
		"bytes":      {Options{BlockSize: "4096"}, Record{Layout: "2,3,4", Export: "export_1", BlockBytes: 4096}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.options.newRecord()
			require.NoError(t, err)
			require.Len(t, got.Storages, c.n)
			for i, s := range got.Storages {
				require.Equal(t, i+1, int(s.SID))
			}
			c.want.Format, c.want.Storages = recordFormat, got.Storages
			require.Equal(t, c.want, *got)
		})
	}
}

func TestMistakesInOptionsAreAllListed(t *testing.T) {
	const sizes = ": want 4K, 8K, 16K, 32K or 64K"
	for name, c := range map[string]struct {
		options Options
		want    []string
	}{
		"layout number":  {Options{Layout: "3"}, []string{"--layout: layout 3: want 0 (2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple INVERSE,FORWARD,SAFE"}},
		"layout word":    {Options{Layout: "raid"}, []string{`--layout: layout "raid": want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4`}},
		"layout order":   {Options{Layout: "3,3,4"}, []string{"--layout: layout 3,3,4: want 1 <= inverse < forward <= safe"}},
		"layout quorum":  {Options{Layout: "1,2,4"}, []string{"--layout: layout 1,2,4: want inverse + forward > safe, so that every read meets the last write"}},
		"few storages":   {Options{Storages: 3}, []string{"--storages 3: layout 2,3,4 needs at least 4, its safe: give more, or a smaller --layout"}},
		"many storages":  {Options{Storages: 256}, []string{"--storages 256: want 1 to 255"}},
		"negative":       {Options{Storages: -1}, []string{"--storages -1: want 1 to 255"}},
		"odd block":      {Options{BlockSize: "7K"}, []string{"--block-size 7K" + sizes}},
		"small block":    {Options{BlockSize: "2K"}, []string{"--block-size 2K" + sizes}},
		"large block":    {Options{BlockSize: "128K"}, []string{"--block-size 128K" + sizes}},
		"block overflow": {Options{BlockSize: "4294967296K"}, []string{"--block-size 4294967296K" + sizes}},
		"block word":     {Options{BlockSize: "K"}, []string{"--block-size K" + sizes}},
		"export slash":   {Options{Export: "a/b"}, []string{`--export "a/b": want a name of 1 to 255 printable bytes without a slash`}},
		"export control": {Options{Export: "a\n"}, []string{`--export "a\n": want a name of 1 to 255 printable bytes without a slash`}},
		"export dots":    {Options{Export: ".."}, []string{`--export "..": want a name of 1 to 255 printable bytes without a slash`}},
		"all at one stroke": {Options{Layout: "x", Storages: 300, BlockSize: "x", Export: "/"}, []string{
			`--layout: layout "x": want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4`,
			"--storages 300: want 1 to 255",
			"--block-size x" + sizes,
			`--export "/": want a name of 1 to 255 printable bytes without a slash`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.options.newRecord()
			require.EqualError(t, err, strings.Join(c.want, "\n"))
			_, usage := errors.AsType[*UsageError](err)
			require.True(t, usage)
		})
	}
}

func TestOptionsMustAgreeWithTheCluster(t *testing.T) {
	r, err := (&Options{}).newRecord()
	require.NoError(t, err)
	r.Dir = "/d"
	const rest = ", which cannot be changed: leave the flag out, or give another --dir"
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"none":           {Options{}, ""},
		"the same":       {Options{Layout: "2,3,4", Storages: 4, Systematic: new(false), Export: "export_1", BlockSize: "8192"}, ""},
		"another mount":  {Options{Mount: "/elsewhere"}, ""},
		"layout":         {Options{Layout: "1"}, "--layout 1: the cluster in /d was made with layout 2,3,4" + rest},
		"no layout":      {Options{Layout: "9"}, "--layout: layout 9: want 0 (2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple INVERSE,FORWARD,SAFE"},
		"storages":       {Options{Storages: 5}, "--storages 5: the cluster in /d was made with 4 storages" + rest},
		"systematic":     {Options{Systematic: new(true)}, "--systematic=true: the cluster in /d was made with systematic=false" + rest},
		"export":         {Options{Export: "x"}, "--export x: the cluster in /d was made with export export_1" + rest},
		"block size":     {Options{BlockSize: "4K"}, "--block-size 4K: the cluster in /d was made with blocks of 8 KiB" + rest},
		"bad block size": {Options{BlockSize: "4"}, "--block-size 4: want 4K, 8K, 16K, 32K or 64K"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.options.agree(r)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	s := newSite(t)
	s.mustUp().Close()
	c := s.open()
	require.NoError(t, c.Down(s.ctx(), &s.out))
	name := c.path(recordName)
	for text, want := range map[string]string{
		"{":                                " is damaged (unexpected end of JSON input): restore it from a backup",
		`{"format": 2}`:                    " is damaged (format 2, this program knows 1): restore it from a backup",
		`{"format": 1}`:                    ` is damaged (layout "": want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4): restore it from a backup`,
		`{"format": 1, "layout": "2,3,4"}`: " is damaged (0 storages for layout 2,3,4): restore it from a backup",
		`{"format": 1, "layout": "1,2,2", "storages": [{"sid": 1}, {"sid": 3}]}`:                 " is damaged (storage 2 has sid 3): restore it from a backup",
		`{"format": 1, "layout": "1,2,2", "storages": [{"sid": 1}, {"sid": 2}], "cluster": "x"}`: ` is damaged (cluster identity "x": want 32 hexadecimal digits): restore it from a backup`,
	} {
		s.write(name, text)
		_, err := open(s.options.Dir, s.options.Bin, s.machine)
		require.EqualError(t, err, name+want)
		_, err = s.up()
		require.EqualError(t, err, name+want)
	}
}
