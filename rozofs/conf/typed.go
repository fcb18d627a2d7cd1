package conf

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

const (
	maxHostBytes = 128
	maxPathBytes = 4095 // PATH_MAX without its zero
	maxNameBytes = 255
)

// layout reads a layout, by number or as a triple; ok is false when it could not.
func (f *fields) layout(key string, v *Value) (l vocab.Layout, ok bool) {
	var err error
	switch {
	case v.Kind == Int:
		l, err = vocab.LayoutByNumber(int(max(-1, min(v.Int, math.MaxInt32))))
	case v.Kind == String && len(v.Str) <= keepBytes:
		l, err = vocab.ParseLayout(v.Str)
	default:
		f.bad(key, v, `0, 1, 2 or a triple in quotes, "INVERSE,FORWARD,SAFE"`)
		return l, false
	}
	for _, problem := range Problems(err) {
		f.out.add(v.Pos, "%s", problem)
	}
	return l, err == nil
}

// path reads an absolute path and cleans it; "" when it could not. The root of the machine is refused: everything would be inside.
func (f *fields) path(key string, v *Value) string {
	s, ok := f.str(key, v)
	switch {
	case !ok:
		return ""
	case !strings.HasPrefix(s, "/"):
		f.bad(key, v, "an absolute path, which begins with /")
	case len(s) > maxPathBytes || strings.ContainsRune(s, 0):
		f.bad(key, v, fmt.Sprintf("a path of at most %d bytes, none of them zero", maxPathBytes))
	case path.Clean(s) == "/":
		f.bad(key, v, "a directory below /")
	default:
		return path.Clean(s)
	}
	return ""
}

// host reads a host name or an IP address; "" when it could not.
func (f *fields) host(key string, v *Value) string {
	s, ok := f.str(key, v)
	if !ok {
		return ""
	}
	if !isHost(s) {
		f.bad(key, v, fmt.Sprintf("a host name or an IP address of 1 to %d characters", maxHostBytes))
		return ""
	}
	return s
}

func isHost(s string) bool {
	if s == "" || len(s) > maxHostBytes {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// isHostPort tells whether s is host:port, the host being * too if any is true.
func isHostPort(s string, any bool) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && (isHost(host) || any && host == "*")
}

// idText writes an id for a message; one that could not be read is 0.
func idText[T vocab.VID | vocab.CID | vocab.EID](id T) string {
	if id == 0 {
		return "?"
	}
	return strconv.Itoa(int(id))
}

var units = map[byte]uint{'K': 10, 'M': 20, 'G': 30, 'T': 40}

// parseSize reads digits and K, M, G, T (powers of 1024), or nothing for 0.
func parseSize(s string) (uint64, bool) {
	if s == "" {
		return 0, true
	}
	shift, known := units[s[len(s)-1]&^0x20]
	if known {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n << shift, err == nil && n<<shift>>shift == n
}

// formatSize writes what parseSize reads, in the largest unit that is exact.
func formatSize(n uint64) string {
	if n == 0 {
		return ""
	}
	for _, unit := range "TGMK" {
		if shift := units[byte(unit)]; n%(1<<shift) == 0 {
			return strconv.FormatUint(n>>shift, 10) + string(unit)
		}
	}
	return strconv.FormatUint(n, 10)
}

// size reads a number of bytes, as an integer or as a string; ok is false when there is none.
func (f *fields) size(key string, v *Value, expected string, valid func(uint64) bool) (n uint64, ok bool) {
	switch {
	case v == nil:
		return 0, false
	case v.Kind == Int:
		n, ok = uint64(v.Int), v.Int >= 0
	case v.Kind == String:
		n, ok = parseSize(v.Str)
	}
	if !ok || !valid(n) {
		f.bad(key, v, expected)
		return 0, false
	}
	return n, true
}

// quota reads squota or hquota; 0 is none.
func (f *fields) quota(key string) uint64 {
	n, _ := f.size(key, f.has(key), `digits with K, M, G or T such as "100G", or "" for none`, func(uint64) bool { return true })
	return n
}

// blockBytes reads bsize.
func (f *fields) blockBytes(key string) uint32 {
	n, ok := f.size(key, f.has(key), `"4K", "8K", "16K", "32K", "64K" or as many bytes`, func(n uint64) bool {
		return n >= vocab.MinBlockBytes && n <= vocab.MaxBlockBytes && n&(n-1) == 0
	})
	if !ok {
		return vocab.DefaultBlockBytes
	}
	return uint32(n)
}

// label reads a short printable text; "" when it could not or was left out.
func (f *fields) label(key string, v *Value) string {
	s, ok := f.str(key, v)
	if !ok {
		return ""
	}
	if len(s) > maxNameBytes || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || !utf8.ValidString(s) {
		f.bad(key, v, fmt.Sprintf("at most %d printable bytes", maxNameBytes))
		return ""
	}
	return s
}

// site reads a failure domain; older files number them.
func (f *fields) site(key string) string {
	v := f.has(key)
	if v != nil && v.Kind == Int {
		return strconv.FormatInt(v.Int, 10)
	}
	return f.label(key, v)
}

// outer reads host or host:port; "" when it is empty or could not be read.
func (f *fields) outer(key string) string {
	v := f.has(key)
	s, ok := f.str(key, v)
	if ok && s != "" && !isHost(s) && !isHostPort(s, false) {
		f.bad(key, v, `"HOST" or "HOST:PORT"`)
		return ""
	}
	return s
}

// flag reads a boolean that is false when left out.
func (f *fields) flag(key string) bool {
	v := f.has(key)
	if v == nil {
		return false
	}
	if v.Kind != Bool {
		f.bad(key, v, "true or false")
	}
	return v.Bool
}
