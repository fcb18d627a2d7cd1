package outside

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged"
)

// shards is a program that wants an erasure code.
const shards = `package main

import (
	"bytes"
	"fmt"
	"log"

	"github.com/rozofs-go/rozo/mojette"
)

func main() {
	code, err := mojette.New(mojette.Config{Inverse: 4, Forward: 6, Systematic: true})
	if err != nil {
		log.Fatal(err)
	}
	data := bytes.Repeat([]byte("a module outside "), 1000)
	shards, err := code.Split(bytes.Clone(data))
	if err == nil {
		err = code.Encode(shards)
	}
	if err != nil {
		log.Fatal(err)
	}
	shards[1], shards[5] = nil, nil
	if err := code.Reconstruct(shards); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	if err := code.Join(&out, shards, len(data)); err != nil {
		log.Fatal(err)
	}
	ok, err := code.Verify(shards)
	fmt.Println(bytes.Equal(out.Bytes(), data), ok, err)
}
`

// files is a program that keeps files in a cluster: HOST EXPORT.
const files = `package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"

	"github.com/rozofs-go/rozo/rozofs"
)

func main() {
	ctx := context.Background()
	client, err := rozofs.Mount(ctx, rozofs.Config{Hosts: os.Args[1:2], Export: os.Args[2]})
	if err != nil {
		log.Fatal(err)
	}
	tree := client.Tree(rozofs.Caller{UID: 1, GID: 1})
	if err := tree.WriteFile(ctx, "file", []byte("from outside"), 0o600); err != nil {
		log.Fatal(err)
	}
	data, err := fs.ReadFile(tree.FS(ctx), "file")
	_, missing := tree.Stat(ctx, "missing")
	fmt.Println(string(data), err, errors.Is(missing, fs.ErrNotExist), client.Close())
}
`

func TestAModuleOutsideUsesTheErasureCode(t *testing.T) {
	require.Equal(t, "true true <nil>\n", output(t, newModule(t, "shards", shards)))
}

func TestAModuleOutsideUsesTheClient(t *testing.T) {
	program := newModule(t, "files", files)
	addr := startCluster(t)
	require.Equal(t, "from outside <nil> true <nil>\n", output(t, program, addr, "/srv/outside"))
}

// requirements are the require lines of a go.mod.
var requirements = regexp.MustCompile(`(?ms)^require \(.*?^\)|^require [^(\n]*$`)

// newModule makes a module of one program that requires this one, as it lies
// here, and what this one requires, and builds it with what the module cache has.
func newModule(t *testing.T, name, source string) (program string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	ours, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	mod := "module example.org/" + name + "\n\ngo 1.26.0\n\nrequire github.com/rozofs-go/rozo v0.0.0\n\n" +
		"replace github.com/rozofs-go/rozo => " + root + "\n"
	for _, lines := range requirements.FindAllString(string(ours), -1) {
		mod += "\n" + lines + "\n"
	}
	dir := t.TempDir()
	for file, content := range map[string]string{"go.mod": mod, "go.sum": string(sums), "main.go": source} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644))
	}
	build := exec.Command("go", "build", "-o", name, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, name)
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// startCluster serves three storages and exportd on loopback ports until the
// test ends, and gives exportd's address.
func startCluster(t *testing.T) (addr string) {
	t.Helper()
	id := vocab.ClusterID{1}
	cluster := exportd.Cluster{CID: 1}
	for sid := vocab.SID(1); sid <= 3; sid++ {
		root := t.TempDir()
		require.NoError(t, storaged.InitRoot(root, id, vocab.StorageID{CID: 1, SID: sid}))
		s, err := storaged.New(storaged.Config{Roots: []storaged.RootConfig{{CID: 1, SID: sid, Path: root}}})
		require.NoError(t, err)
		cluster.Storages = append(cluster.Storages, exportd.Storage{SID: sid, Addr: serve(t, s)})
	}
	s, err := exportd.New(exportd.Config{
		Dir: t.TempDir(), Cluster: id,
		Volumes: []exportd.Volume{{VID: 1, Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 3}, Clusters: []exportd.Cluster{cluster}}},
		Exports: []exportd.Export{{EID: 1, Root: "/srv/outside", VID: 1}},
	})
	require.NoError(t, err)
	return serve(t, s)
}

// server is what exportd and storaged have in common.
type server interface {
	Serve(net.Listener) error
	Close() error
}

func serve(t *testing.T, s server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }() // waited for by the cleanup
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, <-served)
	})
	return l.Addr().String()
}
