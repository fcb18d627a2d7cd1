package admin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// Defaults of Options.
const (
	DefaultDir    = "rozo-data"
	DefaultMount  = "mnt"
	DefaultExport = "export_1"
	DefaultLayout = "0"
)

// MaxStorages bounds the storages of a cluster: a sid has 8 bits and 0 is none.
const MaxStorages = 255

// Options says which cluster Up brings up. A field's zero value means what the
// cluster was made with, or the default when Up makes it.
type Options struct {
	Dir        string // directory of the cluster; default DefaultDir
	Mount      string // mount point, the one thing that may differ from start to start; default DefaultMount
	Storages   int    // number of storages, safe of the layout to MaxStorages; default safe
	Layout     string // "0", "1", "2" or "INVERSE,FORWARD,SAFE"; default DefaultLayout
	Systematic *bool  // whether new files are kept in systematic form; default false
	Export     string // name of the export; default DefaultExport
	BlockSize  string // of new files, "4K" to "64K" or bytes, a power of two; default 8K
	Bin        string // directory of the daemons' programs; default that of the running program
}

// UsageError is a mistake of the caller: a value that no cluster can have, or
// one that contradicts what the cluster was made with.
type UsageError struct {
	Text string
}

func (e *UsageError) Error() string { return e.Text }

func usagef(format string, args ...any) error {
	return &UsageError{Text: fmt.Sprintf(format, args...)}
}

// newRecord describes a cluster that is to be made, without its identity and
// ports. The error joins everything that is wrong with o.
func (o *Options) newRecord() (*Record, error) {
	var errs []error
	r := &Record{Format: recordFormat, Export: orDefault(o.Export, DefaultExport), Systematic: o.Systematic != nil && *o.Systematic}
	layout, err := vocab.ParseLayout(orDefault(o.Layout, DefaultLayout))
	if err != nil {
		errs = append(errs, usagef("--layout: %s", oneLine(err)))
	}
	n := int(layout.Safe)
	if o.Storages != 0 {
		n = o.Storages
	}
	switch {
	case n < 0 || n > MaxStorages:
		errs = append(errs, usagef("--storages %d: want 1 to %d", n, MaxStorages))
	case err == nil && n < int(layout.Safe):
		errs = append(errs, usagef("--storages %d: layout %s needs at least %d, its safe: give more, or a smaller --layout", n, layout, layout.Safe))
	case err == nil:
		r.Layout = layout.String()
		for i := range n {
			r.Storages = append(r.Storages, Storage{SID: vocab.SID(i + 1)})
		}
	}
	if r.BlockBytes, err = parseBlockSize(orDefault(o.BlockSize, "8K")); err != nil {
		errs = append(errs, err)
	}
	if err := checkExportName(r.Export); err != nil {
		errs = append(errs, err)
	}
	return r, errors.Join(errs...)
}

// agree tells in what o contradicts the cluster that r describes.
func (o *Options) agree(r *Record) error {
	var errs []error
	differs := func(flag, made string) {
		errs = append(errs, usagef("%s: the cluster in %s was made with %s, which cannot be changed: leave the flag out, or give another --dir",
			flag, r.Dir, made))
	}
	if o.Layout != "" {
		if l, err := vocab.ParseLayout(o.Layout); err != nil {
			errs = append(errs, usagef("--layout: %s", oneLine(err)))
		} else if l.String() != r.Layout {
			differs("--layout "+o.Layout, "layout "+r.Layout)
		}
	}
	if o.Storages != 0 && o.Storages != len(r.Storages) {
		differs("--storages "+strconv.Itoa(o.Storages), fmt.Sprintf("%d storages", len(r.Storages)))
	}
	if o.Systematic != nil && *o.Systematic != r.Systematic {
		differs("--systematic="+strconv.FormatBool(*o.Systematic), "systematic="+strconv.FormatBool(r.Systematic))
	}
	if o.Export != "" && o.Export != r.Export {
		differs("--export "+o.Export, "export "+r.Export)
	}
	if o.BlockSize != "" {
		if n, err := parseBlockSize(o.BlockSize); err != nil {
			errs = append(errs, err)
		} else if n != r.BlockBytes {
			differs("--block-size "+o.BlockSize, "blocks of "+formatBytes(uint64(r.BlockBytes)))
		}
	}
	return errors.Join(errs...)
}

// parseBlockSize reads bytes, or KiB with a K.
func parseBlockSize(s string) (uint32, error) {
	digits, kilo := strings.CutSuffix(strings.ToUpper(s), "K")
	n, err := strconv.ParseUint(digits, 10, 32)
	if kilo {
		n <<= 10
	}
	if err != nil || n < vocab.MinBlockBytes || n > vocab.MaxBlockBytes || n&(n-1) != 0 {
		return 0, usagef("--block-size %s: want 4K, 8K, 16K, 32K or 64K", s)
	}
	return uint32(n), nil
}

func checkExportName(s string) error {
	bad := func(c rune) bool { return c == '/' || !unicode.IsPrint(c) }
	if s == "." || s == ".." || len(s) > vocab.MaxNameBytes || strings.ContainsFunc(s, bad) {
		return usagef("--export %q: want a name of 1 to %d printable bytes without a slash", s, vocab.MaxNameBytes)
	}
	return nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// oneLine joins the lines of a joined error.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
