package rozofsmount

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// command is a command line, read.
type command struct {
	options    Options
	foreground bool
	help       bool
	version    bool
	fake       bool // mount -f: check all, mount nothing
	sloppy     bool // mount -s: let unknown options pass
	verbose    bool
	debug      bool
	logFile    string
	warnings   []string
}

func (c *command) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

const usageText = `usage: rozofsmount -H HOST[:PORT][/HOST2...] -E EXPORTPATH [-o OPTION,...] [-f] MOUNTPOINT
       mount.rozofs SPEC MOUNTPOINT [-sfnv] [-o OPTION,...]

Mounts an export of exportd on HOST (port 53000 unless given) on the directory
MOUNTPOINT. It returns when the mount point is ready and leaves a daemon that
serves it until it is unmounted: umount MOUNTPOINT, or SIGTERM to the daemon.

  -H HOST...      exportd; several are tried in turn
  -E EXPORTPATH   the export's path, as in export.conf
  -o OPTION,...   mount options, below
  -f              stay in the foreground, log to the terminal
  -d              as -f, and log every request
  -h, -V          this text, the version

Options: exporthost=HOST..., exportpath=PATH; rozofsattrtimeout=SECONDS and
rozofsentrytimeout=SECONDS, how long the kernel trusts attributes and names
without asking (0); rozofsexporttimeout=SECONDS, rozofsstoragetimeout=SECONDS;
rozofsbufsize=KIB of written data held back; log=FILE; debug; ro, nosuid, noexec
and the like of mount(8).

In /etc/fstab (rozofsmount linked to /sbin/mount.rozofs):
  rozofsmount /mnt/x rozofs exporthost=HOST,exportpath=PATH,_netdev 0 0
`

// parseCommand reads args, whose first names the program: mount.rozofs has the
// form that mount(8) calls its helpers in. It returns all that is wrong.
func parseCommand(args []string) (*command, error) {
	c := &command{}
	if len(args) > 0 && filepath.Base(args[0]) == "mount.rozofs" {
		return c, c.parseHelper(args[1:])
	}
	var rest []string
	if len(args) > 0 {
		rest = args[1:]
	}
	return c, c.parseDaemon(rest)
}

// parseDaemon reads rozofsmount's own form.
func (c *command) parseDaemon(args []string) error {
	operands, err := getopt(args, "H:E:o:fdhV", func(letter byte, value string) error {
		switch letter {
		case 'H':
			return setHosts(c, value)
		case 'E':
			c.options.Export = value
		case 'o':
			return parseOptions(c, value)
		case 'f':
			c.foreground = true
		case 'd':
			c.foreground, c.debug = true, true
		case 'h':
			c.help = true
		case 'V':
			c.version = true
		}
		return nil
	})
	if c.help || c.version {
		return nil
	}
	return errors.Join(err, c.operands(operands), c.complete("-H HOST", "-E EXPORTPATH"))
}

// parseHelper reads the form of mount(8)'s helpers, in which -f is "fake".
func (c *command) parseHelper(args []string) error {
	var lists []string
	operands, err := getopt(args, "sfnvN:o:t:h", func(letter byte, value string) error {
		switch letter {
		case 's':
			c.sloppy = true
		case 'f':
			c.fake = true
		case 'v':
			c.verbose = true
		case 'N':
			return errors.New("-N: mounting in another namespace is not offered: run nsenter -m -t PID mount.rozofs")
		case 'o':
			lists = append(lists, value) // later: -s may come after
		case 'h':
			c.help = true
		}
		return nil
	})
	if c.help {
		return nil
	}
	var specErr error
	if len(operands) > 0 {
		specErr = parseSpec(c, operands[0])
		operands = operands[1:]
	}
	errs := []error{err, specErr}
	for _, list := range lists {
		errs = append(errs, parseOptions(c, list))
	}
	return errors.Join(append(errs, c.operands(operands), c.complete("-o exporthost=HOST", "-o exportpath=PATH"))...)
}

func (c *command) operands(operands []string) error {
	switch len(operands) {
	case 0:
		return errors.New("no MOUNTPOINT is given")
	case 1:
		c.options.Mountpoint = operands[0]
		return nil
	}
	return fmt.Errorf("one MOUNTPOINT is wanted, found %d: %s", len(operands), strings.Join(operands, " "))
}

func (c *command) complete(hosts, export string) error {
	var errs []error
	if c.options.Hosts == nil {
		errs = append(errs, fmt.Errorf("no exportd host is given: add %s", hosts))
	}
	if c.options.Export == "" {
		errs = append(errs, fmt.Errorf("no export is given: add %s", export))
	}
	return errors.Join(errs...)
}

// getopt reads single-letter flags, those followed by ":" in spec with a value,
// before and after the operands. It hands each to set and goes on after an
// error, to find the others too.
func getopt(args []string, spec string, set func(letter byte, value string) error) (operands []string, err error) {
	var errs []error
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(operands, args...), errors.Join(errs...)
		case arg == "--help", arg == "--version":
			arg = "-" + map[string]string{"--help": "h", "--version": "V"}[arg]
		case strings.HasPrefix(arg, "--"):
			errs = append(errs, fmt.Errorf("unknown flag %s", arg))
			continue
		case len(arg) < 2 || arg[0] != '-':
			operands = append(operands, arg)
			continue
		}
		for i := 1; i < len(arg); i++ {
			at := strings.IndexByte(spec, arg[i])
			if at < 0 || arg[i] == ':' {
				errs = append(errs, fmt.Errorf("unknown flag -%c", arg[i]))
				continue
			}
			value, takes := "", at+1 < len(spec) && spec[at+1] == ':'
			if takes {
				if value = arg[i+1:]; value == "" && len(args) > 0 {
					value, args = args[0], args[1:]
				}
				if value == "" {
					errs = append(errs, fmt.Errorf("flag -%c wants a value", arg[i]))
					break
				}
			}
			if err := set(arg[i], value); err != nil {
				errs = append(errs, err)
			}
			if takes {
				break
			}
		}
	}
	return operands, errors.Join(errs...)
}
