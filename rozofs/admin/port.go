package admin

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Ports of new clusters are chosen from firstPort to lastPort, below those that
// Linux gives to outgoing connections, which could take them at any time.
const (
	firstPort = 20000
	lastPort  = 32767
)

// choosePorts gives the record ports that are free now.
func (r *Record) choosePorts() error {
	free, err := freePorts(1 + len(r.Storages))
	if err != nil {
		return err
	}
	r.ExportdPort = free[0]
	for i := range r.Storages {
		r.Storages[i].Port = free[i+1]
	}
	return nil
}

// freePorts finds n ports in a row of tries from a random one on, so that
// clusters that are made at the same time seldom choose the same.
func freePorts(n int) ([]int, error) {
	const span = lastPort - firstPort + 1
	var free []int
	for i, start := 0, rand.IntN(span); i < span && len(free) < n; i++ {
		port := firstPort + (start+i)%span
		if tryPort(port) == nil {
			free = append(free, port)
		}
	}
	if len(free) < n {
		return nil, fmt.Errorf("only %d of %d ports needed are free on %s from %d to %d", len(free), n, loopback, firstPort, lastPort)
	}
	return free, nil
}

func tryPort(port int) error {
	l, err := net.Listen("tcp", hostPort(port))
	if err != nil {
		return err
	}
	return l.Close()
}

// portProblem tells why a daemon cannot have its port, or nil.
func portProblem(d Daemon, port int) error {
	err := tryPort(port)
	if err == nil {
		return nil
	}
	by := ""
	if inodes := listeners(port); len(inodes) > 0 {
		if h := holders(func(link string) bool { return inodes[link] }); len(h) > 0 {
			name, _, _ := strings.Cut(h[0], ":")
			by = " by " + name + ")"
		}
	}
	files := recordName + ", export.conf"
	if d.Role == RoleStoraged {
		files += ", " + filepath.Base(d.Conf)
	}
	return fmt.Errorf("port %d of %s is taken%s: stop what uses it, or set another port in %s (%w)", port, d.Name, by, files, err)
}

// listeners gives the sockets that listen on a port as they are named in
// /proc/PID/fd.
func listeners(port int) map[string]bool {
	found := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(table)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			const listen = "0A"
			if len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				found["socket:["+f[9]+"]"] = true
			}
		}
	}
	return found
}
