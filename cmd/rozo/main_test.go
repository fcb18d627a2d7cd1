package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rozo runs a command line as a shell would see it.
func rozo(t *testing.T, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = report(run(t.Context(), args, &out), &errs)
	return status, out.String(), errs.String()
}

func TestHelpIsGivenOnRequestAndOnMistakes(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}} {
		status, out, errs := rozo(t, args...)
		require.Zero(t, status)
		require.Equal(t, usage, out)
		require.Empty(t, errs)
	}
	for name := range commands {
		for _, flag := range []string{"--help", "-h"} {
			status, out, errs := rozo(t, name, flag)
			require.Zero(t, status)
			require.True(t, strings.HasPrefix(out, "Usage: rozo "+name+" "), out)
			require.Contains(t, out, "--dir directory    directory of the cluster (default ./rozo-data)")
			require.Contains(t, out, "Examples:\n  rozo "+name)
			require.Empty(t, errs)
		}
	}
	for problem, args := range map[string][]string{
		"no command given":         nil,
		`unknown command "banana"`: {"banana"},
	} {
		status, out, errs := rozo(t, args...)
		require.Equal(t, 2, status)
		require.Empty(t, out)
		require.Equal(t, "rozo: "+problem+"\n\n"+usage, errs)
	}
}

func TestMistakesInFlagsAreUsageErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for want, args := range map[string][]string{
		"up: flag provided but not defined: -banana; rozo up --help tells more":                                       {"up", "--banana"},
		`up: unexpected argument "x"; rozo up --help tells more`:                                                      {"up", "x"},
		`up: invalid value "x" for flag -storages: parse error; rozo up --help tells more`:                            {"up", "--storages", "x"},
		"start: DAEMON is missing; rozo start --help tells more":                                                      {"start", "--dir", dir},
		`kill: unexpected argument "b"; rozo kill --help tells more`:                                                  {"kill", "a", "--dir", dir, "b"},
		`status: unexpected argument "x"; rozo status --help tells more`:                                              {"status", "x"},
		"--dir " + dir + " holds no cluster: name the directory of one, or make one with `rozo up --dir " + dir + "`": {"down", "--dir", dir},
	} {
		status, out, errs := rozo(t, args...)
		require.Equal(t, 2, status, args)
		require.Empty(t, out)
		require.Equal(t, "rozo: "+want+"\n", errs)
	}
	for name, args := range map[string][]string{"status": nil, "stop": {"exportd"}} {
		status, _, errs := rozo(t, append(append([]string{name}, args...), "--dir", dir)...)
		require.Equal(t, 2, status)
		require.Contains(t, errs, "holds no cluster")
	}
}

func TestUpListsEveryProblemOnALineOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", nil, 0o644))
	status, out, errs := rozo(t, "up", "--dir", dir+"/data", "--mount", dir+"/file", "--layout", "5", "--block-size", "1M", "--export", "x/y")
	require.Equal(t, 2, status)
	require.Empty(t, out)
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	require.GreaterOrEqual(t, len(lines), 4)
	for i, want := range []string{"rozo: --layout: ", "rozo: --block-size 1M: ", `rozo: --export "x/y": `} {
		require.Contains(t, lines[i], want)
	}
	require.Contains(t, errs, "rozo: --mount "+dir+"/file is not a directory")
	require.NoDirExists(t, dir+"/data")
}

func TestExitStatusTellsUnwellWithoutAWord(t *testing.T) {
	for want, err := range map[int]error{0: flag.ErrHelp, 1: errUnwell} {
		var b bytes.Buffer
		require.Equal(t, want, report(err, &b))
		require.Empty(t, b.String())
	}
	var b bytes.Buffer
	require.Equal(t, 1, report(errors.Join(errors.New("a"), errors.Join(errors.New("b"))), &b))
	require.Equal(t, "rozo: a\nrozo: b\n", b.String())
}
