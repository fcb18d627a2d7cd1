package conf

import (
	"fmt"
	"slices"
	"strings"
)

// fields reads the settings of one group and remembers which it was asked for: those are the known ones.
type fields struct {
	group *Value
	what  string // what the group describes, for messages: "a volume"
	known []string
	out   *problems // errors
	warn  *problems
}

// has gives the value of a setting that may be left out; nil when it was, or could not be read.
func (f *fields) has(key string) *Value {
	f.known = append(f.known, key)
	v := f.group.Lookup(key)
	if v == nil || v.Kind == Invalid {
		return nil
	}
	return v
}

// need is has for a setting that must be there; form is its right-hand side in the message.
func (f *fields) need(key, form string) *Value {
	v := f.has(key)
	if v == nil && f.group.Lookup(key) == nil && !f.group.Damaged {
		f.out.add(f.group.Pos, "%s is missing in %s, expected %s = %s;", key, f.what, key, form)
	}
	return v
}

// bad reports that a setting holds something else than expected.
func (f *fields) bad(key string, v *Value, expected string) {
	f.out.add(v.Pos, "%s is %s, expected %s", key, v.describe(), expected)
}

// number reads an integer within bounds, ends included; v may be nil.
func (f *fields) number(key string, v *Value, low, high int64) (int64, bool) {
	if v == nil {
		return 0, false
	}
	if v.Kind != Int || v.Int < low || v.Int > high {
		f.bad(key, v, fmt.Sprintf("an integer from %d to %d", low, high))
		return 0, false
	}
	return v.Int, true
}

// integer reads an integer that may be left out.
func (f *fields) integer(key string, low, high, byDefault int64) int64 {
	if n, ok := f.number(key, f.has(key), low, high); ok {
		return n
	}
	return byDefault
}

// id reads an integer that must be there; 0, which is no id, when it could not.
func (f *fields) id(key string, high int64) int64 {
	n, _ := f.number(key, f.need(key, "NUMBER"), 1, high)
	return n
}

// str reads a string; v may be nil.
func (f *fields) str(key string, v *Value) (string, bool) {
	if v == nil {
		return "", false
	}
	if v.Kind != String {
		f.bad(key, v, "a string in quotes")
		return "", false
	}
	return v.Str, true
}

// groups reads a list of groups; each comes with fields of its own, described by what.
func (f *fields) groups(key, what string) []*fields {
	v := f.need(key, "( { ... }, ... )")
	if v == nil {
		return nil
	}
	if v.Kind != List {
		f.bad(key, v, "a list of groups, ( { ... }, ... )")
		return nil
	}
	var all []*fields
	for _, item := range v.Items {
		switch item.Kind {
		case Group:
			all = append(all, &fields{group: item, what: what, out: f.out, warn: f.warn})
		case Invalid:
		default:
			f.out.add(item.Pos, "found %s in %s, expected %s as a group, { name = value; ... }", item.describe(), key, what)
		}
	}
	return all
}

// notEmpty reports a list without members; form is what one looks like.
func (f *fields) notEmpty(key, form string) {
	if v := f.group.Lookup(key); v != nil && v.Kind == List && len(v.Items) == 0 && !v.Damaged {
		f.out.add(v.Pos, "%s is empty, expected at least one member: ( %s )", key, form)
	}
}

// partial tells whether members of this list, or of the groups in it, may be hidden by a mistake that was reported.
func (f *fields) partial(key string) bool {
	v := f.group.Lookup(key)
	if v == nil || v.Kind != List || v.Damaged {
		return true
	}
	return slices.ContainsFunc(v.Items, func(i *Value) bool { return i.Kind != Group })
}

// ignored accepts settings of other versions which do nothing here.
func (f *fields) ignored(keys ...string) {
	for _, key := range keys {
		if v := f.has(key); v != nil {
			f.warn.add(v.Pos, "%s has no effect here: delete it", key)
		}
	}
}

// done reports the settings that nobody asked for.
func (f *fields) done() {
	for _, s := range f.group.Settings {
		if slices.Contains(f.known, s.Name) {
			continue
		}
		if f.out.full() {
			f.out.add(s.Pos, "") // spares the search for a name that is not shown
			continue
		}
		if near := nearest(s.Name, f.known); near != "" {
			f.out.add(s.Pos, "unknown key %s in %s: did you mean %s?", quoteShort(s.Name), f.what, near)
			continue
		}
		f.out.add(s.Pos, "unknown key %s in %s, expected one of %s", quoteShort(s.Name), f.what, strings.Join(f.known, ", "))
	}
}

// nearest gives the known name that is at most a third of its letters away, or "".
func nearest(name string, known []string) string {
	best, least := "", keepBytes
	if len(name) > keepBytes {
		return ""
	}
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least && d <= (len(k)+2)/3 {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, with a swap of neighbours counted once.
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// unique finds the second use of what must be used once; the key is the text of the message.
type unique map[string]Pos

// claim reports a second use, and tells whether this is the first.
func (u unique) claim(out *problems, at Pos, format string, args ...any) bool {
	key := fmt.Sprintf(format, args...)
	first, twice := u[key]
	if twice {
		out.add(at, "%s is used twice, first at line %d", key, first.Line)
		return false
	}
	u[key] = at
	return true
}
