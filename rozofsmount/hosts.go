package rozofsmount

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// defaultPort is exportd's.
const defaultPort = "53000"

// parseHosts reads HOST[:PORT][/HOST2[:PORT2]...]. An IPv6 address with a port
// stands in brackets. It returns HOST:PORT for each, and all that is wrong.
func parseHosts(s string) ([]string, error) {
	hosts := []string{} // never nil: a wrong host is not a missing one
	var errs []error
	for part := range strings.SplitSeq(s, "/") {
		host, err := parseHost(strings.TrimSpace(part))
		if err != nil {
			errs = append(errs, fmt.Errorf("exportd host %q: %w", s, err))
			continue
		}
		hosts = append(hosts, host)
	}
	return hosts, errors.Join(errs...)
}

func parseHost(s string) (string, error) {
	host, port := s, defaultPort
	switch bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"); {
	case net.ParseIP(bare) != nil:
		host = bare
	case strings.Contains(s, ":"):
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("%q: want HOST, HOST:PORT or [IPV6]:PORT", s)
		}
	}
	if host == "" || strings.ContainsAny(host, " \t,[]") {
		return "", fmt.Errorf("%q: want HOST, HOST:PORT or [IPV6]:PORT", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q: want a number from 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}

// parseSpec reads the first argument of mount.rozofs: HOST[/HOST2]:/EXPORTPATH,
// or a word such as "rozofsmount", the device column of fstab by tradition, when
// the options name both.
func parseSpec(c *command, spec string) error {
	hosts, path, ok := strings.Cut(spec, ":/")
	if !ok {
		return nil
	}
	c.options.Export = "/" + path
	var err error
	c.options.Hosts, err = parseHosts(hosts)
	return err
}
