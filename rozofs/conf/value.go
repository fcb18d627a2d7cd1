package conf

import "strconv"

// Kind says what a [Value] is.
type Kind uint8

// The kinds of value that libconfig knows, and Invalid for a place where a value should have been and none could be
// read: that was reported, and those who look at the value later keep silent.
const (
	Invalid Kind = iota
	Int
	Float
	Bool
	String
	Array // [ ]: scalars of one kind
	List  // ( ): values of any kind
	Group // { }: settings
)

var kindNames = [...]string{"nothing readable", "an integer", "a float", "a boolean", "a string", "an array", "a list", "a group"}

// String gives the name with its article: "an integer".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

func (k Kind) scalar() bool { return k >= Int && k <= String }

// Value is a node of the syntax tree; only the field of its Kind is set.
type Value struct {
	Pos  Pos
	Kind Kind

	Int   int64
	Float float64
	Bool  bool
	Str   string

	Items    []*Value  // Array, List
	Settings []Setting // Group

	// Damaged is true for a container when a part of it could not be read: a member that seems to be missing may
	// be there.
	Damaged bool
}

// Setting is one `name = value;` of a group. Names are unique in their group.
type Setting struct {
	Pos   Pos // of the name
	Name  string
	Value *Value
}

// Lookup gives the value of the setting with this name, or nil.
func (v *Value) Lookup(name string) *Value {
	for i := range v.Settings {
		if v.Settings[i].Name == name {
			return v.Settings[i].Value
		}
	}
	return nil
}

// describe says what was found, in the words of the file when it is short enough.
func (v *Value) describe() string {
	switch v.Kind {
	case Int:
		return strconv.FormatInt(v.Int, 10)
	case Float:
		return strconv.FormatFloat(v.Float, 'g', -1, 64)
	case Bool:
		return strconv.FormatBool(v.Bool)
	case String:
		return quoteShort(v.Str)
	}
	return v.Kind.String()
}

// keepBytes of a name or a text are shown in a message: a file may hold one of a megabyte.
const keepBytes = 60

func quoteShort(s string) string {
	if len(s) > keepBytes {
		return strconv.Quote(s[:keepBytes]) + "..."
	}
	return strconv.Quote(s)
}

func shorten(s string) string {
	if len(s) > keepBytes {
		return s[:keepBytes] + "..."
	}
	return s
}
