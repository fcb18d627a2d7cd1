package conf

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

func TestFormattedExportParsesToTheSame(t *testing.T) {
	for _, file := range []string{"testdata/export.conf", "testdata/export-full.conf"} {
		e, _, err := LoadExport(file)
		require.NoError(t, err)
		again, _, err := ParseExport("again", e.Format())
		require.NoError(t, err, "%s", e.Format())
		require.Equal(t, string(e.Format()), string(again.Format()))
		clearPos(e)
		clearPos(again)
		require.Equal(t, e, again)
	}
}

func TestExportFormatIsCanonical(t *testing.T) {
	e, _, err := LoadExport("testdata/export.conf")
	require.NoError(t, err)
	e.Exports[0].Name = `a "name"`
	e.Volumes[0].Clusters = append(e.Volumes[0].Clusters, Cluster{CID: 2})
	require.Equal(t, `layout = 0;
listen = "*:53000";
meta = "/srv/rozofs/exportd";
lease_term = 20;
scrub_days = 7;
scrub_rate = 32;
volumes = (
  {
    vid = 1;
    layout = 0;
    cids = (
      {
        cid = 1;
        sids = (
          { sid = 1; host = "node1"; port = 41001; },
          { sid = 2; host = "node2"; port = 41001; },
          { sid = 3; host = "node3"; port = 41001; },
          { sid = 4; host = "node4"; port = 41001; }
        );
      },
      {
        cid = 2;
        sids = ( );
      }
    );
  }
);
exports = (
  {
    eid = 1;
    name = "a \"name\"";
    root = "/srv/rozofs/exports/export_1";
    md5 = "";
    squota = "";
    hquota = "100G";
    vid = 1;
    bsize = "8K";
  }
);
`, string(e.Format()))
}

func TestEmptyFieldsGetTheirDefaults(t *testing.T) {
	built := &Export{Exports: []ExportEntry{}, Volumes: []Volume{{VID: 3}}}
	warnings, err := built.Validate()
	require.NoError(t, err)
	require.Empty(t, warnings)
	e, _, err := ParseExport("f", built.Format())
	require.NoError(t, err)
	require.Equal(t, DefaultListen, e.Listen)
	require.Equal(t, DefaultLeaseTerm, e.LeaseTerm)
	require.Equal(t, vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, e.Volumes[0].Layout)

	built.LeaseTerm = time.Hour
	_, err = built.Validate()
	require.Equal(t, []string{"export.conf:1: lease_term is 3600, expected an integer from 2 to 300"}, Problems(err))
}

func TestFormattedStorageParsesToTheSame(t *testing.T) {
	s := &Storage{
		Threads: 7,
		Listen:  []Listen{{Addr: "10.0.0.1", Port: 1}, {Addr: "::1", Port: 2}},
		Storages: []StorageRoot{
			{CID: 1, SID: 2, Root: "/a \"b\"\\\n\t\x01\xff\x7fé"},
			{CID: 65535, SID: 255, Root: "/c"},
		},
	}
	require.NoError(t, s.Validate())
	again, err := ParseStorage("f", s.Format())
	require.NoError(t, err)
	for i := range again.Listen {
		again.Listen[i].Pos = Pos{}
	}
	for i := range again.Storages {
		again.Storages[i].Pos = Pos{}
	}
	require.Equal(t, s, again)
	require.Equal(t, []string{
		`storage.conf:1: listen is empty, expected at least one member: ( { addr = "*"; port = 41001; } )`,
		`storage.conf:2: storages is empty, expected at least one member: ( { cid = 1; sid = 1; root = "/ABSOLUTE/PATH"; } )`,
	}, Problems((&Storage{}).Validate()))
}

func TestSizesKeepTheirValue(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"", 0, true},
		{"0", 0, true},
		{"1", 1, true},
		{"1023", 1023, true},
		{"1K", 1 << 10, true},
		{"3m", 3 << 20, true},
		{"100G", 100 << 30, true},
		{"16777215T", 16777215 << 40, true},
		{"16777216T", 0, false},
		{"18446744073709551615", 1<<64 - 1, true},
		{"18446744073709551616", 0, false},
		{"K", 0, false},
		{"1 K", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1KB", 0, false},
		{"0x10", 0, false},
		{"1_0", 0, false},
	} {
		n, ok := parseSize(c.text)
		require.Equal(t, c.ok, ok, c.text)
		if ok {
			require.Equal(t, c.want, n, c.text)
			back, ok := parseSize(formatSize(n))
			require.True(t, ok)
			require.Equal(t, n, back)
		}
	}
}

func TestWriteFileReplacesAtomically(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "export.conf")
	require.NoError(t, WriteFile(file, []byte("one")))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm())

	require.NoError(t, os.Chmod(file, 0o600))
	link := filepath.Join(dir, "link.conf")
	require.NoError(t, os.Symlink("export.conf", link))
	require.NoError(t, WriteFile(link, []byte("two")))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "two", string(got))
	info, err = os.Lstat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	require.ErrorIs(t, WriteFile(filepath.Join(dir, "none", "x"), nil), os.ErrNotExist)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.Error(t, WriteFile(filepath.Join(dir, "sub"), nil))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3, "no temporary file stays")
}
