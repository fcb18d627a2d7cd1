package conf

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStorageConfOfRozoFSParsesAsItStands(t *testing.T) {
	s, err := LoadStorage("testdata/storage.conf")
	require.NoError(t, err)
	at := func(line, column int) Pos { return Pos{File: "testdata/storage.conf", Line: line, Column: column} }
	require.Equal(t, &Storage{
		Threads:  4,
		Listen:   []Listen{{Addr: "*", Port: 41001, Pos: at(2, 12)}},
		Storages: []StorageRoot{{CID: 1, SID: 1, Root: "/srv/rozofs/storages/storage_1_1", Pos: at(3, 41)}},
	}, s)
	require.Equal(t, ":41001", s.Listen[0].HostPort())
	require.Equal(t, "[::1]:1", (&Listen{Addr: "::1", Port: 1}).HostPort())
}

func TestStorageProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", ``, `
f:1: listen is missing in the file, expected listen = ( { ... }, ... );
f:1: storages is missing in the file, expected storages = ( { ... }, ... );`},
		{"empty lists", "listen = ( );\nstorages = ( );", `
f:1: listen is empty, expected at least one member: ( { addr = "*"; port = 41001; } )
f:2: storages is empty, expected at least one member: ( { cid = 1; sid = 1; root = "/ABSOLUTE/PATH"; } )`},
		{"values", `threads = 0;
listen = ( { addr = "a b"; port = -1; }, { prot = 1; } );
storages = ( { cid = 0; sid = 300; root = "x"; } ); thread = 1; color = 2;`, `
f:1: threads is 0, expected an integer from 1 to 1024
f:2: addr is "a b", expected "*" for every address, an IP address or a host name
f:2: port is -1, expected an integer from 1 to 65535
f:2: addr is missing in a listen address, expected addr = "*";
f:2: unknown key "prot" in a listen address: did you mean port?
f:3: cid is 0, expected an integer from 1 to 65535
f:3: sid is 300, expected an integer from 1 to 255
f:3: root is "x", expected an absolute path, which begins with /
f:3: unknown key "thread" in the file: did you mean threads?
f:3: unknown key "color" in the file, expected one of threads, listen, storages`},
		{"duplicates", `listen = ( { addr = "*"; port = 1; }, { addr = "a"; port = 2; },
  { addr = "a"; port = 1; }, { addr = "a"; port = 2; } );
storages = ( { cid = 1; sid = 1; root = "/s/1"; },
  { cid = 1; sid = 1; root = "/s/2/"; },
  { cid = 1; sid = 2; root = "/s/1/x/y"; },
  { cid = 1; sid = 3; root = "/s/1-x"; },
  { cid = 1; sid = 4; root = "/s/1/z"; },
  { cid = 2; sid = 1; root = "/s/./2"; } );`, `
f:2: address a, port 1 is covered by "*" at line 1: delete one
f:2: listen address a, port 2 is used twice, first at line 1
f:4: cid 1, sid 1 is used twice, first at line 3
f:5: root "/s/1/x/y" lies inside root "/s/1" of line 3: storages need directories of their own
f:7: root "/s/1/z" lies inside root "/s/1" of line 3: storages need directories of their own
f:8: root "/s/2" is used twice, first at line 4`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseStorage("f", []byte(c.text))
			require.Nil(t, s)
			require.Equal(t, strings.TrimPrefix(c.want, "\n"), strings.Join(Problems(err), "\n"))
		})
	}
}

func TestCheckRootsListsEveryRootThatIsNoDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "good"), 0o700))
	s, err := ParseStorage("s.conf", []byte(`listen = ( { addr = "*"; } );
storages = ( { cid = 1; sid = 1; root = "`+dir+`/good"; },
  { cid = 1; sid = 2; root = "`+dir+`/none"; },
  { cid = 1; sid = 3; root = "`+file+`"; } );`))
	require.NoError(t, err)
	err = s.CheckRoots()
	require.Equal(t, []string{
		`s.conf:3: root ` + quoteShort(dir+"/none") + ` does not exist: create it, or mount its disk`,
		`s.conf:4: root ` + quoteShort(file) + ` is not a directory: name one`,
	}, Problems(err))
	require.ErrorIs(t, err, fs.ErrNotExist)
	s.Storages = s.Storages[:1]
	require.NoError(t, s.CheckRoots())
}

func TestMissingRootsAreListedAmongTheOtherProblems(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.conf")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(`color = 1;
storages = ( { cid = 1; sid = 1; root = "` + dir + `/none"; },
  { cid = 1; sid = 2; },
  { cid = 0; sid = 3; root = "` + dir + `/there"; } );`)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "there"), 0o700))
	_, err := LoadStorageWithRoots(file)
	require.Equal(t, []string{
		file + `:1: listen is missing in the file, expected listen = ( { ... }, ... );`,
		file + `:1: unknown key "color" in the file, expected one of threads, listen, storages`,
		file + `:2: root ` + quoteShort(dir+"/none") + ` does not exist: create it, or mount its disk`,
		file + `:3: root is missing in a storage, expected root = "/ABSOLUTE/PATH";`,
		file + `:4: cid is 0, expected an integer from 1 to 65535`,
	}, Problems(err))
	require.ErrorIs(t, err, fs.ErrNotExist)

	good := `listen = ( { addr = "*"; } ); storages = ( { cid = 1; sid = 1; root = "` + dir + `/new"; } );`
	write(good)
	_, err = LoadStorage(file)
	require.NoError(t, err)
	_, err = LoadStorageWithRoots(file)
	require.ErrorContains(t, err, "does not exist")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "new"), 0o700))
	s, err := LoadStorageWithRoots(file)
	require.NoError(t, err)
	require.Len(t, s.Storages, 1)
	_, err = LoadStorageWithRoots(file + ".none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
