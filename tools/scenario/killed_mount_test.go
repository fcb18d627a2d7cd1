package scenario

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A mount that is killed loses nothing that was synced, and takes its place
// again; another mount sees the synced content too.
func TestAMountIsKilled(t *testing.T) {
	s := seed(t)
	c := start(t, options{})
	content := bytesOf(s, 4*mib+100)
	f, err := os.Create(c.path("file"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(content)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	other := c.secondMount()
	c.kill("rozofsmount")
	got, err := os.ReadFile(other.point + "/file")
	require.NoError(t, err, "on another mount")
	require.Equal(t, content, got)
	c.start("rozofsmount")
	got, err = os.ReadFile(c.path("file"))
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoError(t, os.WriteFile(c.path("file"), content[:100], 0o644))
	got, err = os.ReadFile(other.point + "/file")
	require.NoError(t, err)
	require.Equal(t, content[:100], got)
}
