package rozofsmount

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyVariable is set for the daemon, with the number of the descriptor on
// which its parent waits for readyWord or the text of an error.
const (
	readyVariable = "ROZOFSMOUNT_READY_FD"
	readyWord     = "ready"
)

// startDaemon runs this program again, as a daemon with the same command line,
// and returns when it has mounted, or with its error. (A Go program cannot fork.)
func startDaemon(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program itself: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	defer r.Close()
	daemon := &exec.Cmd{
		Path:        self,
		Args:        args,
		Env:         append(os.Environ(), readyVariable+"=3"),
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = daemon.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	stop := passSignals(daemon.Process)
	defer stop()
	answer, err := io.ReadAll(r)
	switch text := strings.TrimSpace(string(answer)); {
	case err != nil:
		return fmt.Errorf("waiting for the daemon: %w", err)
	case text == readyWord:
		return daemon.Process.Release()
	case text != "":
		daemon.Wait()
		return fmt.Errorf("%s", text)
	}
	return fmt.Errorf("%w: %v", errDaemonEnded, daemon.Wait())
}

// passSignals ends the daemon with us while it is still mounting. It lives in a
// session of its own and does not hear the terminal.
func passSignals(daemon *os.Process) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	quit := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			daemon.Signal(syscall.SIGTERM)
		case <-quit:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(quit)
		<-done
	}
}

// adopted returns the pipe to the waiting parent when this is the daemon.
func adopted() *os.File {
	fd, err := strconv.Atoi(os.Getenv(readyVariable))
	if err != nil {
		return nil
	}
	os.Unsetenv(readyVariable)
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready")
}

// runDaemon is the daemon: it mounts, tells the parent, and serves.
func (c *command) runDaemon(parent *os.File) int {
	answer := func(text string) {
		if parent != nil {
			fmt.Fprintln(parent, text)
			parent.Close()
			parent = nil
		}
	}
	log, err := c.openLog()
	if err == nil {
		err = c.serve(log, func() {
			os.Chdir("/") // so as not to keep another file system busy
			answer(readyWord)
		})
	}
	if err != nil {
		if log != nil {
			log.Error("ended", "err", err)
		}
		answer(err.Error())
		return exitFailure
	}
	return exitOK
}

// openLog opens the file of -o log=FILE or, when it can be written,
// /var/log/rozofsmount-MOUNTPOINT.log, and lets a crash report go there too.
func (c *command) openLog() (*slog.Logger, error) {
	path := c.logFile
	if path == "" {
		path = defaultLogPath(c.options.Mountpoint)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	switch {
	case err != nil && c.logFile != "":
		return nil, fmt.Errorf("option log=%s: %w", c.logFile, err)
	case err != nil:
		return slog.New(slog.DiscardHandler), nil
	}
	if err := unix.Dup2(int(file.Fd()), int(os.Stderr.Fd())); err != nil {
		return nil, fmt.Errorf("log file %s: %w", path, err)
	}
	return c.logger(file), nil
}

func defaultLogPath(mountpoint string) string {
	abs, err := filepath.Abs(mountpoint)
	if err != nil {
		abs = mountpoint
	}
	return "/var/log/rozofsmount-" + strings.ReplaceAll(strings.Trim(abs, "/"), "/", "-") + ".log"
}
