package wire

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxRawParts bounds the pieces of one direct write; the system takes 1024.
const maxRawParts = 256

// rawWriter writes to a socket without waiting for it.
type rawWriter struct{ conn syscall.RawConn }

// newRawWriter returns nil for connections that are no sockets.
func newRawWriter(nc net.Conn) *rawWriter {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return &rawWriter{raw}
}

// writev writes head and parts as far as the socket has room.
func (w *rawWriter) writev(head []byte, parts [][]byte) (n int, err error) {
	if len(parts) >= maxRawParts {
		return 0, nil
	}
	vec := make([][]byte, 0, 1+len(parts))
	vec = append(append(vec, head), parts...)
	cerr := w.conn.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Writev(int(fd), vec)
			if err != unix.EINTR {
				return true // also if it would block: no waiting here
			}
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}
