package rozofsmount

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlySignalsThatEndTheCallerCancel(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		want   bool
	}{
		"nothing pending":      {"State:\tS\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n", false},
		"SIGKILL":              {"State:\tD\nSigPnd:\t0000000000000100\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n", true},
		"SIGKILL for all":      {"State:\tD\nShdPnd:\t0000000000000100\n", true},
		"SIGTERM":              {"State:\tD\nShdPnd:\t0000000000004000\nSigCgt:\t0000000000000000\n", true},
		"SIGTERM caught":       {"State:\tD\nShdPnd:\t0000000000004000\nSigCgt:\t0000000000004000\n", false},
		"SIGTERM ignored":      {"State:\tD\nShdPnd:\t0000000000004000\nSigIgn:\t0000000000004000\n", false},
		"SIGTERM blocked":      {"State:\tD\nSigPnd:\t0000000000004000\nSigBlk:\t0000000000004000\n", false},
		"SIGALRM caught, KILL": {"State:\tD\nSigPnd:\t0000000000002100\nSigCgt:\t0000000000002000\n", true},
		"SIGCHLD, SIGURG":      {"State:\tD\nShdPnd:\t0000000000410000\n", false},
		"zombie":               {"State:\tZ (zombie)\n", true},
		"empty":                {"", false},
		"nonsense":             {"State\nSigPnd: xyz\n\n:", false},
	} {
		require.Equal(t, c.want, fatalSignalPending([]byte(c.status)), name)
	}
}

func TestDying(t *testing.T) {
	require.False(t, dying(0), "a caller that cannot be seen")
	require.False(t, dying(uint32(os.Getpid())))
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	require.True(t, dying(uint32(gone.Process.Pid)))
}
