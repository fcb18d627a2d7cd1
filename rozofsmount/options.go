package rozofsmount

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// option is one that -o accepts.
type option struct {
	value string // what stands after "=" in the usage; "": it takes no value
	set   func(c *command, value string) error
}

const (
	maxTimeoutSeconds = 86400
	minBufferKiB      = 4 << 10  // what the client needs at least
	maxBufferKiB      = 16 << 20 // 16 GiB
)

// options are RozoFS's, ours and those of mount(8).
var options = func() map[string]option {
	all := map[string]option{
		"exporthost":           {"HOST[:PORT][/HOST2...]", setHosts},
		"exportpath":           {"PATH", func(c *command, v string) error { c.options.Export = v; return nil }},
		"rozofsbufsize":        {"KIB", setBuffer},
		"rozofsexporttimeout":  {"SECONDS", seconds(1, func(c *command) *time.Duration { return &c.options.ExportTimeout })},
		"rozofsstoragetimeout": {"SECONDS", seconds(1, func(c *command) *time.Duration { return &c.options.StorageTimeout })},
		"rozofsattrtimeout":    {"SECONDS", seconds(0, func(c *command) *time.Duration { return &c.options.AttrTimeout })},
		"rozofsentrytimeout":   {"SECONDS", seconds(0, func(c *command) *time.Duration { return &c.options.EntryTimeout })},
		"rozofsmaxretry":       valued("N", noEffect("rozofsmaxretry", "requests that are late go to another storage as well, within the timeouts")),
		"debug_port":           valued("PORT", noEffect("debug_port", "there is no diagnostics port, see the log")),
		"instance":             valued("N", noEffect("instance", "any number of mounts run side by side without it")),
		"posixlock":            {"", ignore}, // always on, but with nolock
		"bsdlock":              {"", ignore}, // likewise
		"nolock":               {"", func(c *command, _ string) error { c.options.LocalLocks = true; return nil }},
		"noXattr":              {"", func(c *command, _ string) error { c.options.NoXattr = true; return nil }},
		"log":                  {"FILE", func(c *command, v string) error { c.logFile = v; return nil }},
		"debug":                {"", func(c *command, _ string) error { c.debug = true; return nil }},
		"remount":              {"", refuse("a mounted file system cannot be changed: unmount it and mount it with the new options")},
		"user":                 {"", ignore}, // mount(8) adds nosuid, nodev and noexec itself
		"x-*":                  {"", ignore},
		"comment":              {"TEXT", ignore},
		"allow_other":          {"", ignore}, // always on where the system permits
		"default_permissions":  {"", ignore}, // always on
	}
	for name := range mountFlags {
		all[name] = option{"", func(c *command, _ string) error {
			c.options.MountFlags = append(c.options.MountFlags, name)
			return nil
		}}
	}
	for _, name := range []string{"_netdev", "auto", "defaults", "group", "noauto", "nofail", "nouser", "owner", "users"} {
		all[name] = option{"", ignore}
	}
	return all
}()

// parseOptions reads the argument of -o, and returns all that is wrong with it.
func parseOptions(c *command, list string) error {
	var errs []error
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" || strings.HasPrefix(item, "x-") || strings.HasPrefix(item, "X-") {
			continue
		}
		if err := c.setOption(item); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *command) setOption(item string) error {
	name, value, hasValue := strings.Cut(item, "=")
	o, known := options[name]
	switch {
	case !known && c.sloppy:
		c.warn("option %s is unknown and ignored", name)
		return nil
	case !known:
		return fmt.Errorf("option %q is unknown; known are: %s", name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
	case name == "user" && hasValue: // mount(8) writes user=NAME
		return nil
	case o.value == "" && hasValue:
		return fmt.Errorf("option %s takes no value, found %q", name, value)
	case o.value != "" && value == "":
		return fmt.Errorf("option %s wants a value: %s=%s", name, name, o.value)
	}
	if err := o.set(c, value); err != nil {
		return fmt.Errorf("option %s: %w", item, err)
	}
	return nil
}

func ignore(*command, string) error { return nil }

func refuse(why string) func(*command, string) error {
	return func(*command, string) error { return errors.New(why) }
}

// noEffect accepts an option of RozoFS's that does nothing here, and says so.
func noEffect(name, why string) option {
	return option{set: func(c *command, _ string) error {
		c.warn("option %s has no effect: %s", name, why)
		return nil
	}}
}

func valued(value string, o option) option {
	o.value = value
	return o
}

func setHosts(c *command, v string) (err error) {
	c.options.Hosts, err = parseHosts(v)
	return err
}

func setBuffer(c *command, v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 1 || n > maxBufferKiB {
		return fmt.Errorf("want a number of KiB from 1 to %d", maxBufferKiB)
	}
	if n < minBufferKiB {
		c.warn("option rozofsbufsize=%d: raised to the least, %d KiB", n, minBufferKiB)
		n = minBufferKiB
	}
	c.options.WriteBufferBytes = n << 10
	return nil
}

func seconds(least int64, field func(*command) *time.Duration) func(*command, string) error {
	return func(c *command, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < least || n > maxTimeoutSeconds {
			return fmt.Errorf("want a number of seconds from %d to %d", least, maxTimeoutSeconds)
		}
		*field(c) = time.Duration(n) * time.Second
		return nil
	}
}
