package rozofsmount

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func parse(line string) (*command, error) { return parseCommand(strings.Fields(line)) }

func TestCommandLinesThatAreRight(t *testing.T) {
	for line, want := range map[string]command{
		"rozofsmount -H node1 -E /srv/e /mnt": {options: Options{Hosts: []string{"node1:53000"}, Export: "/srv/e", Mountpoint: "/mnt"}},
		"rozofsmount /mnt -Hnode1:99/node2 -E/srv/e -f": {
			options: Options{Hosts: []string{"node1:99", "node2:53000"}, Export: "/srv/e", Mountpoint: "/mnt"}, foreground: true,
		},
		"rozofsmount -fo ro,noatime -H [::1]:7/::2 -E e -- /mnt": {
			options: Options{Hosts: []string{"[::1]:7", "[::2]:53000"}, Export: "e", Mountpoint: "/mnt", MountFlags: []string{"ro", "noatime"}}, foreground: true,
		},
		"rozofsmount -o exporthost=h,exportpath=/p,_netdev,nofail,x-systemd.automount,user=joe -d /mnt": {
			options: Options{Hosts: []string{"h:53000"}, Export: "/p", Mountpoint: "/mnt"}, foreground: true, debug: true,
		},
		"rozofsmount -o rozofsattrtimeout=10,rozofsentrytimeout=0,rozofsexporttimeout=25,rozofsstoragetimeout=3,rozofsbufsize=8192,log=/tmp/l -Hh -Ep /mnt": {
			options: Options{
				Hosts: []string{"h:53000"}, Export: "p", Mountpoint: "/mnt", AttrTimeout: 10 * time.Second,
				ExportTimeout: 25 * time.Second, StorageTimeout: 3 * time.Second, WriteBufferBytes: 8 << 20,
			}, logFile: "/tmp/l",
		},
		"/sbin/mount.rozofs rozofsmount /mnt -o rw,exporthost=h,exportpath=/p": {
			options: Options{Hosts: []string{"h:53000"}, Export: "/p", Mountpoint: "/mnt", MountFlags: []string{"rw"}},
		},
		"mount.rozofs h1:99/h2:/srv/e /mnt -fvn -t rozofs": {
			options: Options{Hosts: []string{"h1:99", "h2:53000"}, Export: "/srv/e", Mountpoint: "/mnt"}, fake: true, verbose: true,
		},
		"mount.rozofs rozofs /mnt -o exporthost=h,exportpath=/p,what -s": {
			options: Options{Hosts: []string{"h:53000"}, Export: "/p", Mountpoint: "/mnt"}, sloppy: true,
			warnings: []string{"option what is unknown and ignored"},
		},
	} {
		got, err := parse(line)
		require.NoError(t, err, line)
		require.Equal(t, &want, got, line)
	}
}

func TestOptionsWithoutEffectWarn(t *testing.T) {
	c, err := parse("rozofsmount -Hh -Ep -o posixlock,bsdlock,debug_port=50003,instance=1,rozofsmaxretry=50,rozofsbufsize=256 /mnt")
	require.NoError(t, err)
	require.Equal(t, []string{
		"option debug_port has no effect: there is no diagnostics port, see the log",
		"option instance has no effect: any number of mounts run side by side without it",
		"option rozofsmaxretry has no effect: requests that are late go to another storage as well, within the timeouts",
		"option rozofsbufsize=256: raised to the least, 4096 KiB",
	}, c.warnings)
	require.EqualValues(t, 4<<20, c.options.WriteBufferBytes)
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	const good = " -H h -E /p /mnt"
	for line, want := range map[string]string{
		"rozofsmount":                                 "no MOUNTPOINT is given\nno exportd host is given: add -H HOST\nno export is given: add -E EXPORTPATH",
		"mount.rozofs":                                "no MOUNTPOINT is given\nno exportd host is given: add -o exporthost=HOST\nno export is given: add -o exportpath=PATH",
		"mount.rozofs rozofs":                         "no MOUNTPOINT is given\nno exportd host is given: add -o exporthost=HOST\nno export is given: add -o exportpath=PATH",
		"rozofsmount /a" + good:                       "one MOUNTPOINT is wanted, found 2: /a /mnt",
		"rozofsmount -x --y" + good:                   "unknown flag -x\nunknown flag --y",
		"rozofsmount" + good + " -o":                  "flag -o wants a value",
		"rozofsmount -E /p /mnt -H a b":               "one MOUNTPOINT is wanted, found 2: /mnt b",
		"rozofsmount -E /p /mnt -H a:b/c:0/:9":        "exportd host \"a:b/c:0/:9\": port \"b\": want a number from 1 to 65535\nexportd host \"a:b/c:0/:9\": port \"0\": want a number from 1 to 65535\nexportd host \"a:b/c:0/:9\": \":9\": want HOST, HOST:PORT or [IPV6]:PORT",
		"rozofsmount -E /p /mnt -H x::y:z":            "exportd host \"x::y:z\": \"x::y:z\": want HOST, HOST:PORT or [IPV6]:PORT",
		"rozofsmount -o ro=1,exporthost=" + good:      "option ro takes no value, found \"1\"\noption exporthost wants a value: exporthost=HOST[:PORT][/HOST2...]",
		"rozofsmount -o rozofsattrtimeout=x" + good:   "option rozofsattrtimeout=x: want a number of seconds from 0 to 86400",
		"rozofsmount -o rozofsexporttimeout=0" + good: "option rozofsexporttimeout=0: want a number of seconds from 1 to 86400",
		"rozofsmount -o rozofsbufsize=-5" + good:      "option rozofsbufsize=-5: want a number of KiB from 1 to 16777216",
		"rozofsmount -o remount" + good:               "option remount: a mounted file system cannot be changed: unmount it and mount it with the new options",
		"mount.rozofs h:/p /mnt -N 5":                 "-N: mounting in another namespace is not offered: run nsenter -m -t PID mount.rozofs",
	} {
		_, err := parse(line)
		require.EqualError(t, err, want, line)
	}
}

func TestAnUnknownOptionListsTheKnownOnes(t *testing.T) {
	_, err := parse("rozofsmount -H h -E /p /mnt -o rozofscache")
	require.ErrorContains(t, err, `option "rozofscache" is unknown; known are: _netdev, allow_other, `)
	for _, name := range []string{
		"exporthost", "exportpath", "rozofsbufsize", "rozofsmaxretry", "rozofsexporttimeout", "rozofsstoragetimeout",
		"rozofsattrtimeout", "rozofsentrytimeout", "posixlock", "bsdlock", "nolock", "noXattr", "debug_port", "instance", "x-*",
	} {
		require.ErrorContains(t, err, " "+name)
	}
}

func TestHelpNeedsNothingElse(t *testing.T) {
	for _, line := range []string{"rozofsmount -h", "rozofsmount --help -x", "mount.rozofs -h", "rozofsmount -V"} {
		c, err := parse(line)
		require.NoError(t, err, line)
		require.True(t, c.help || c.version)
	}
}

func TestTheLastOfAPairOfMountFlagsWins(t *testing.T) {
	bits, rest := kernelFlags([]string{"default_permissions", "ro", "suid", "rw", "noexec"})
	require.Equal(t, []string{"default_permissions"}, rest)
	require.EqualValues(t, 0x4|0x8, bits) // nodev, noexec
	bits, _ = kernelFlags([]string{"suid", "dev"})
	require.EqualValues(t, 0xC0ED0000, bits)
}
