package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/bench"
)

func TestCommandLinesThatAreNotUnderstood(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"":                                  "no command given: mojette or fs",
		"moj":                               `unknown command "moj": want mojette or fs`,
		"mojette --fast":                    "flag provided but not defined: -fast",
		"mojette quick":                     `unexpected argument "quick"`,
		"mojette --json --benchstat":        "exclude one another: give one",
		"mojette --element 9":               "element width 9: want 8, 16, 32 or 64 bytes",
		"fs":                                "give --dir DIRECTORY, or --up",
		"fs --up --dir .":                   "--up measures a cluster of its own",
		"fs --up --cluster .":               "--up measures a cluster of its own",
		"fs --up --workers 99":              "99 workers: want 1 to 64",
		"fs --dir . --layout 1":             "--layout and --systematic go with --up",
		"fs --dir . --systematic":           "--layout and --systematic go with --up",
		"fs --dir /does/not/exist":          "no such file or directory",
		"fs --dir . --size 5M":              "want a multiple of 4MiB",
		"fs --dir . --size big":             "such as 512M",
		"fs --dir . --size 0":               "such as 512M",
		"fs --dir . --size 9999999999G":     "such as 512M",
		"fs --dir . --against=":             "want a directory",
		"fs --dir . --random x":             "invalid value",
		"fs --files 1 --dir " + dir + "/no": "1 small files: want 50",
	} {
		err := run(t.Context(), strings.Fields(line), io.Discard, io.Discard)
		require.ErrorContains(t, err, want, line)
		var text bytes.Buffer
		require.Equal(t, 2, report(err, &text), line)
		require.True(t, strings.HasPrefix(text.String(), "rozo-bench: "), line)
	}
}

func TestHelpIsGivenWhenAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"help": "rozo-bench mojette", "--help": "rozo-bench fs",
		"mojette --help": "--benchstat", "fs -h": "--against directory",
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(line), &out, io.Discard)
		require.True(t, err == nil || errors.Is(err, flag.ErrHelp))
		require.Zero(t, report(err, io.Discard))
		require.Contains(t, out.String(), want)
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "4096": 4096, "4K": 4096, "512M": 512 << 20, "1G": 1 << 30, "2T": 2 << 40} {
		var s size
		require.NoError(t, s.Set(text))
		require.EqualValues(t, want, s)
	}
	for _, text := range []string{"", "K", "-1", "1.5G", "1k", "1GB", "0K", "8388608T"} {
		var s size
		require.Error(t, s.Set(text), text)
	}
}

func TestADirectoryIsMeasured(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	line := []string{"fs", "--dir", dir, "--against", other, "--size", "4M", "--files", "50", "--random", "1ms", "--keep-cache"}
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), line, &out, &progress))
	require.Contains(t, out.String(), "create+write+close")
	require.Contains(t, out.String(), "Note: the page cache was not dropped")
	require.Contains(t, progress.String(), "unlink")

	out.Reset()
	require.NoError(t, run(t.Context(), append(line, "--json"), &out, io.Discard))
	var r bench.FSReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	require.Equal(t, []string{other}, r.Options.Against)
	require.NotEmpty(t, r.Results)
}

func TestWhatIsInterruptedFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{"mojette --quick", "mojette --quick --json", "fs --quick --keep-cache --dir " + t.TempDir()} {
		var out bytes.Buffer
		err := run(ctx, strings.Fields(line), &out, io.Discard)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, report(err, io.Discard))
		require.Empty(t, out.String())
	}
}
