package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/rozofs-go/rozo"

// part is a subtree of the module with what it may import of the others, itself
// always included. A name with /... is a subtree. The first part that a package
// is in counts.
type part struct {
	tree    string
	imports []string
}

var parts = []part{
	{"mojette/...", nil},
	{"rozofs/vocab", nil},
	{"rozofs/ranges", nil},
	{"rozofs/wire/...", []string{"rozofs/vocab"}},
	{"rozofs/conf/...", []string{"rozofs/vocab"}},
	{"rozofs/block/...", []string{"rozofs/vocab", "rozofs/wire", "mojette"}},
	{"rozofs/admin/...", []string{"rozofs/vocab", "rozofs/wire", "rozofs/conf"}},
	{"rozofs/...", []string{"mojette/..."}},
	{"exportd/...", serverImports},
	{"storaged/...", serverImports},
	{"rozofsmount/...", clientImports},
	{"provision/...", clientImports},
	{"bench/...", clientImports},
	{"cmd/...", allImports},
	{"tools/...", allImports},
}

var (
	// The servers don't import the client, which is package rozofs itself.
	serverImports = []string{"mojette/...", "rozofs/vocab", "rozofs/ranges", "rozofs/wire/...", "rozofs/conf/...", "rozofs/block/...", "rozofs/admin/..."}
	clientImports = []string{"mojette/...", "rozofs/..."}
	allImports    = []string{"mojette/...", "rozofs/...", "exportd/...", "storaged/...", "rozofsmount/...", "provision/...", "bench/..."}
)

// Modules of others that one part alone imports.
var reserved = map[string]string{
	"github.com/hanwen/go-fuse": "rozofsmount/...",
	"github.com/aws/":           "provision/...",
	"github.com/cockroachdb/":   "exportd/...",
	"github.com/hashicorp/raft": "exportd/...",
}

// Packages that only the named commands may import.
var commandOnly = map[string]string{
	"provision/...":         "cmd/rozo-cloud/...",
	"storaged/disk/memdisk": "tools/sim/...", // and tests of others, whose imports are not looked at
	"exportd/memfs":         "tools/sim/...",
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
}

// inTree tells whether a package, named within the module, is in a part's tree.
func inTree(name, tree string) bool {
	dir, sub := strings.CutSuffix(tree, "/...")
	return name == dir || sub && strings.HasPrefix(name, dir+"/")
}

// ofModule gives the name of a package within the module.
func ofModule(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func violations(packages []pkg) []string {
	var found []string
	for _, p := range packages {
		name, ok := ofModule(p.ImportPath)
		at := slices.IndexFunc(parts, func(q part) bool { return inTree(name, q.tree) })
		if !ok || at < 0 {
			found = append(found, p.ImportPath+": no part of the architecture: name it in ARCHITECTURE.md and in this test")
			continue
		}
		for _, imported := range p.Imports {
			if why := forbidden(name, parts[at], imported); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", name, imported, why))
			}
		}
	}
	return found
}

// forbidden tells why a package of the module must not import another, or "".
func forbidden(name string, of part, imported string) string {
	target, own := ofModule(imported)
	if !own {
		return forbiddenOther(name, imported)
	}
	for tree, command := range commandOnly {
		if inTree(target, tree) && !inTree(name, command) && !inTree(name, tree) {
			return "only " + command + " links it"
		}
	}
	if inTree(target, of.tree) || slices.ContainsFunc(of.imports, func(t string) bool { return inTree(target, t) }) {
		return ""
	}
	return "against the arrows"
}

func forbiddenOther(name, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	if inTree(name, "mojette/...") && strings.Contains(first, ".") {
		return "mojette is made of the standard library alone"
	}
	for prefix, tree := range reserved {
		if strings.HasPrefix(imported, prefix) && !inTree(name, tree) {
			return "only " + tree + " imports it"
		}
	}
	return ""
}

func TestThePartsImportOnlyWhatTheArchitectureAllows(t *testing.T) {
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...").Output()
	require.NoError(t, err)
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.Greater(t, len(all), 5, "go list found too little")
	require.Empty(t, violations(all))
}

func TestForbiddenImportsAreFound(t *testing.T) {
	const m = module + "/"
	for _, c := range []struct {
		name, imported, want string
	}{
		{"mojette", "crypto/subtle", ""},
		{"mojette", "golang.org/x/sys/cpu", "mojette is made of the standard library alone"},
		{"mojette/internal/asm", m + "rozofs/vocab", "against the arrows"},
		{"rozofs", m + "rozofs/wire", ""},
		{"rozofs", m + "exportd", "against the arrows"},
		{"rozofs/vocab", m + "rozofs/wire", "against the arrows"},
		{"rozofs/admin", m + "rozofs", "against the arrows"},
		{"rozofs/admin", "github.com/aws/aws-sdk-go-v2/service/ec2", "only provision/... imports it"},
		{"exportd", m + "rozofs/block", ""},
		{"exportd", m + "exportd/internal/x", ""},
		{"exportd", m + "rozofs", "against the arrows"},
		{"exportd", m + "storaged", "against the arrows"},
		{"storaged", m + "rozofs", "against the arrows"},
		{"storaged", m + "exportd", "against the arrows"},
		{"storaged", "github.com/cockroachdb/pebble/v2", "only exportd/... imports it"},
		{"rozofsmount", "github.com/hanwen/go-fuse/v2/fuse", ""},
		{"rozofsmount", m + "rozofs", ""},
		{"bench", "github.com/hanwen/go-fuse/v2/fuse", "only rozofsmount/... imports it"},
		{"cmd/rozo", m + "rozofs/admin", ""},
		{"cmd/rozo", m + "provision", "only cmd/rozo-cloud/... links it"},
		{"cmd/rozo-cloud", m + "provision", ""},
		{"storaged", m + "storaged/disk", ""},
		{"storaged", m + "storaged/disk/memdisk", "only tools/sim/... links it"},
		{"tools/sim", m + "storaged/disk/memdisk", ""},
		{"exportd", m + "exportd/memfs", "only tools/sim/... links it"},
	} {
		t.Run(c.name+" "+c.imported, func(t *testing.T) {
			var want []string
			if c.want != "" {
				want = []string{fmt.Sprintf("%s imports %s: %s", c.name, c.imported, c.want)}
			}
			require.Equal(t, want, violations([]pkg{{ImportPath: m + c.name, Imports: []string{c.imported}}}))
		})
	}
	require.Equal(t, []string{m + "util: no part of the architecture: name it in ARCHITECTURE.md and in this test"},
		violations([]pkg{{ImportPath: m + "util"}}))
}
