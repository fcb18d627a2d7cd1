package scenario

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// maxRecord makes records that lie within a block and ones that span several.
const maxRecord = 20 * kib

// record is the seq-th of a writer, whose content it follows from: a line that
// names it, with its length and sum, and so many bytes.
func record(writer, seq int) []byte {
	seed := uint64(writer)<<32 | uint64(seq)
	body := bytesOf(seed, 1+rand.New(generator(^seed)).IntN(maxRecord))
	return append(fmt.Appendf(nil, "%d %d %d %d\n", writer, seq, len(body), crc32.ChecksumIEEE(body)), body...)
}

// appendErrand appends records, each by one write: PATH WRITER RECORDS. It waits
// with the file open until its input ends, so that all begin together.
func appendErrand(args []string) error {
	writer, errWriter := strconv.Atoi(args[1])
	n, errN := strconv.Atoi(args[2])
	fd, err := unix.Open(args[0], unix.O_WRONLY|unix.O_APPEND, 0)
	if err := errors.Join(errWriter, errN, err); err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for seq := range n {
		b := record(writer, seq)
		// No second write for what one has not taken: it would be another append.
		if wrote, err := unix.Write(fd, b); err != nil || wrote != len(b) {
			return fmt.Errorf("writer %d, record %d: %d of %d bytes written: %w", writer, seq, wrote, len(b), err)
		}
	}
	return errors.Join(unix.Fsync(fd), unix.Close(fd))
}

// Processes append to one file, through one mount and through two. Each record
// is there once, whole, after those that its writer has appended before.
func TestProcessesAppendToOneFile(t *testing.T) {
	const writers = 4
	n := scaled(60, 2_000)
	c := start(t, options{})
	other := c.secondMount()
	for name, mounts := range map[string][]string{
		"one mount":  {c.mnt},
		"two mounts": {c.mnt, other.point},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(c.path(name), nil, 0o644))
			var all []*started
			for i := range writers {
				path := mounts[i%len(mounts)] + "/" + name
				all = append(all, launch(t, errand(t, "append", path, strconv.Itoa(i), strconv.Itoa(n))))
			}
			for _, a := range all {
				a.requireLine(t, "open")
			}
			for _, a := range all {
				require.NoError(t, a.stdin.Close())
			}
			for _, a := range all {
				require.NoError(t, a.wait())
			}
			for _, point := range mounts {
				requireRecords(t, point+"/"+name, writers, n)
			}
		})
	}
	c.remount()
	requireRecords(t, c.path("two mounts"), writers, n)
}

// requireRecords reads all records and judges them.
func requireRecords(t *testing.T, path string, writers, n int) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	next := make([]int, writers)
	for at := 0; at < len(text); {
		line, _, found := bytes.Cut(text[at:], []byte("\n"))
		var writer, seq, size int
		var sum uint32
		_, err := fmt.Sscanf(string(line), "%d %d %d %d", &writer, &seq, &size, &sum)
		require.True(t, found && err == nil && writer < writers, "no record begins at %d: %.60q", at, line)
		require.Equal(t, next[writer], seq, "record of writer %d at %d", writer, at)
		next[writer]++
		want := record(writer, seq)
		require.True(t, bytes.HasPrefix(text[at:], want), "record %d of writer %d, %d bytes at %d, is torn", seq, writer, len(want), at)
		at += len(want)
	}
	for writer, got := range next {
		require.Equal(t, n, got, "records of writer %d", writer)
	}
}

// started is a child process that is talked to.
type started struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// launch starts a child process; the end of the test kills it.
func launch(t *testing.T, cmd *exec.Cmd) *started {
	t.Helper()
	a := &started{cmd: cmd}
	cmd.Stderr = &a.stderr
	var err error
	a.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	a.stdout = bufio.NewReader(out)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return a
}

// requireLine waits for the next line that it prints.
func (a *started) requireLine(t *testing.T, want string) {
	t.Helper()
	line, err := a.stdout.ReadString('\n')
	if err != nil {
		require.FailNow(t, "it has ended", "%v: %v", err, a.wait())
	}
	require.Equal(t, want+"\n", line)
}

// wait waits for its end, and gives what it says on standard error with its failure.
func (a *started) wait() error {
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("%v: %w: %s", a.cmd.Args, err, a.stderr.Bytes())
	}
	return nil
}
