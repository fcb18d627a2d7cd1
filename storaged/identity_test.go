package storaged

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

func TestInitRootIsReadBackAndNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, InitRoot(path, testCluster, testID))
	id, err := ReadRoot(path)
	require.NoError(t, err)
	require.Equal(t, testCluster, id.Cluster)
	require.Equal(t, testID, id.ID)
	require.NotZero(t, id.Incarnation)

	require.NoError(t, InitRoot(path, testCluster, testID))
	again, err := ReadRoot(path)
	require.NoError(t, err)
	require.Equal(t, id, again)

	require.ErrorIs(t, InitRoot(path, testCluster, vocab.StorageID{CID: 1, SID: 2}), vocab.Exists)
	require.ErrorIs(t, InitRoot(path, vocab.ClusterID{9}, testID), vocab.Exists)
	require.ErrorIs(t, InitRoot(filepath.Join(path, "x"), vocab.ClusterID{}, testID), vocab.Invalid)
}

func TestIncarnationsDiffer(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	require.NoError(t, InitRoot(a, testCluster, testID))
	require.NoError(t, InitRoot(b, testCluster, testID))
	ia, err := ReadRoot(a)
	require.NoError(t, err)
	ib, err := ReadRoot(b)
	require.NoError(t, err)
	require.NotEqual(t, ia.Incarnation, ib.Incarnation)
}

func TestInitRootWantsAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, identityTemp), []byte("half"), 0o600)) // of a crash
	require.NoError(t, InitRoot(dir, testCluster, testID))
	require.NoFileExists(t, filepath.Join(dir, identityTemp))

	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600))
	err := InitRoot(dir, testCluster, testID)
	require.ErrorIs(t, err, vocab.NotEmpty)
	require.ErrorContains(t, err, "thesis.tex")
}

func TestRootsThatAreNotOursAreRefused(t *testing.T) {
	dir := t.TempDir()
	root := func(name string) string { return filepath.Join(dir, name) }
	cfg := func(roots ...RootConfig) Config { return Config{Roots: roots} }
	refused := func(c Config, text string) {
		t.Helper()
		_, err := New(c)
		require.ErrorContains(t, err, text)
	}
	require.NoError(t, os.Mkdir(root("bare"), 0o700))
	refused(cfg(RootConfig{1, 1, root("bare")}), "may not be mounted")
	refused(cfg(RootConfig{1, 1, root("nowhere")}), "-init -cluster")

	require.NoError(t, InitRoot(root("one"), testCluster, testID))
	refused(cfg(RootConfig{1, 2, root("one")}), "root of storage 1/1")
	c := cfg(RootConfig{1, 1, root("one")})
	c.Cluster = vocab.ClusterID{7}
	refused(c, "belongs to cluster")

	s, err := New(cfg(RootConfig{1, 1, root("one")}))
	require.NoError(t, err)
	refused(cfg(RootConfig{1, 1, root("one")}), "another storaged serves this root")
	require.NoError(t, s.Close())

	// All problems at once.
	_, err = New(cfg(RootConfig{1, 1, root("bare")}, RootConfig{1, 2, root("one")}))
	require.ErrorContains(t, err, root("bare"))
	require.ErrorContains(t, err, root("one"))

	require.NoError(t, InitRoot(root("two"), vocab.ClusterID{7}, vocab.StorageID{CID: 1, SID: 2}))
	refused(cfg(RootConfig{1, 1, root("one")}, RootConfig{1, 2, root("two")}), "one storaged serves one cluster")
}

func TestDamagedIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, InitRoot(dir, testCluster, testID))
	name := filepath.Join(dir, IdentityFile)
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	for _, b := range [][]byte{nil, good[:63], append(append([]byte(nil), good...), 0), flipped(good, 8), flipped(good, 0), flipped(good, 63)} {
		require.NoError(t, os.WriteFile(name, b, 0o600))
		_, err := ReadRoot(dir)
		require.ErrorIs(t, err, vocab.Corrupt)
		require.ErrorIs(t, InitRoot(dir, testCluster, testID), vocab.Corrupt)
		_, err = New(Config{Roots: []RootConfig{{1, 1, dir}}})
		require.ErrorIs(t, err, vocab.Corrupt)
	}
	require.NoError(t, os.Remove(name))
	_, err = ReadRoot(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func flipped(b []byte, at int) []byte {
	b = append([]byte(nil), b...)
	b[at] ^= 0x10
	return b
}

func TestLinksOutOfTheRootAreNotFollowed(t *testing.T) {
	g := newRig(t)
	g.write(0, version(1))
	g.fold()
	g.stop()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.Rename(g.slotPath(), outside))
	require.NoError(t, os.Symlink(outside, g.slotPath()))
	before, err := os.ReadFile(outside)
	require.NoError(t, err)
	g.start()
	require.ErrorIs(t, g.tryWrite(0, version(2)), vocab.Corrupt)
	require.Equal(t, wire.HealthUp, g.status().Health)
	after, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestValidateListsAllProblems(t *testing.T) {
	err := Config{
		Roots:   []RootConfig{{0, 1, "/a"}, {1, 1, "b"}, {1, 2, "/c"}, {1, 2, "/d"}, {1, 3, "/d/"}},
		Listen:  []string{"nonsense", ":1", "h:99999"},
		Threads: -1, MaxOpenFiles: -1, MaxBulkBytes: 5, Name: string(make([]byte, 300)),
	}.Validate()
	for _, text := range []string{
		"storage 0/1: cid and sid", `"b" is not an absolute`, "storage 1/2 is listed twice", `"/d/" is used by another`,
		`"nonsense"`, `"h:99999"`, "threads -1", "open files -1", "bulk of 5", "name of 300",
	} {
		require.ErrorContains(t, err, text)
	}
	require.ErrorContains(t, Config{}.Validate(), "0 storages: want 1 to 255")
	require.NoError(t, Config{Roots: []RootConfig{{1, 1, "/a"}}, Listen: []string{":41001"}}.Validate())
}
