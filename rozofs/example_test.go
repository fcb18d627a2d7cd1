package rozofs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/storaged"
)

// exportdAddr is where exportd listens: "meta.example.org", say. The examples
// run against a cluster of their own, one at a time.
var exportdAddr string

// Files are made, written, read and listed by path, as with package os.
func Example() {
	defer startExampleCluster()()
	ctx := context.Background()
	client, err := rozofs.Mount(ctx, rozofs.Config{
		Hosts:  []string{exportdAddr},
		Export: "/srv/rozofs/exports/export_1",
	})
	if err != nil {
		log.Fatal(err)
	}
	tree := client.Tree(rozofs.Caller{UID: 1000, GID: 1000}) // who owns what is made

	if err := tree.MkdirAll(ctx, "letters/2026", 0o755); err != nil {
		log.Fatal(err)
	}
	if err := tree.WriteFile(ctx, "letters/2026/first", []byte("Dear reader,\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	data, err := tree.ReadFile(ctx, "letters/2026/first")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", data)

	entries, err := tree.ReadDir(ctx, "letters")
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e)
	}
	if err := client.Close(); err != nil { // makes everything durable
		log.Fatal(err)
	}
	// Output:
	// Dear reader,
	// d 2026/
}

// What is appended is durable when Sync has returned, whatever fails then.
func ExampleTree_OpenFile() {
	defer startExampleCluster()()
	ctx := context.Background()
	client, tree := mountExample(ctx)
	defer client.Close()

	for _, line := range []string{"one\n", "two\n"} {
		f, err := tree.OpenFile(ctx, "journal", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.WriteString(f, line); err != nil {
			log.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			log.Fatal(err)
		}
	}
	info, err := tree.Stat(ctx, "journal")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Name(), info.Size(), info.Mode())

	_, err = tree.Open(ctx, "no/such/journal")
	fmt.Println(errors.Is(err, fs.ErrNotExist), errors.Is(err, vocab.NotFound))
	fmt.Println(err)
	// Output:
	// journal 8 -rw-------
	// true true
	// open no/such/journal: not found: "no"
}

// A tree goes wherever an fs.FS does: http.FileServerFS, template.ParseFS,
// fs.WalkDir.
func ExampleTree_FS() {
	defer startExampleCluster()()
	ctx := context.Background()
	client, tree := mountExample(ctx)
	defer client.Close()

	if err := tree.Mkdir(ctx, "a", 0o755); err != nil {
		log.Fatal(err)
	}
	if err := tree.WriteFile(ctx, "a/file", make([]byte, 12345), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := tree.Symlink(ctx, "a/file", "link"); err != nil {
		log.Fatal(err)
	}
	err := fs.WalkDir(tree.FS(ctx), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			fmt.Println(d.Type(), name)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// d--------- .
	// d--------- a
	// ---------- a/file
	// L--------- link
}

// Below the paths are inodes and handles, on which a file system is built.
func ExampleClient_CreateFile() {
	defer startExampleCluster()()
	ctx := context.Background()
	client, _ := mountExample(ctx)
	defer client.Close()

	who := rozofs.Caller{UID: 1000, GID: 1000}
	root := client.Root().Ino
	h, _, err := client.CreateFile(ctx, who, root, "sparse", 0o644, os.O_RDWR)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := h.WriteAt(ctx, []byte("end"), 1<<30); err != nil { // the rest takes no space
		log.Fatal(err)
	}
	p := make([]byte, 5)
	n, err := h.ReadAt(ctx, p, 1<<30-2)
	fmt.Printf("%q %v\n", p[:n], err)
	if err := h.Close(ctx); err != nil {
		log.Fatal(err)
	}
	attr, err := client.Lookup(ctx, who, root, "sparse")
	fmt.Println(attr.Size, attr.UID, err)
	// Output:
	// "\x00\x00end" <nil>
	// 1073741827 1000 <nil>
}

func mountExample(ctx context.Context) (*rozofs.Client, *rozofs.Tree) {
	client, err := rozofs.Mount(ctx, rozofs.Config{Hosts: []string{exportdAddr}, Export: "export_1"})
	if err != nil {
		log.Fatal(err)
	}
	return client, client.Tree(rozofs.Caller{})
}

// startExampleCluster makes four storages and exportd in this process, sets
// exportdAddr, and returns what ends them.
func startExampleCluster() (stop func()) {
	dir, err := os.MkdirTemp("", "rozofs-example-")
	if err != nil {
		log.Fatal(err)
	}
	var ends []func()
	serve := func(s server, err error) string {
		if err != nil {
			log.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }() // its end is waited for below
		ends = append(ends, func() {
			if err := errors.Join(s.Close(), <-served); err != nil {
				log.Fatal(err)
			}
		})
		return l.Addr().String()
	}
	id := vocab.ClusterID{1}
	cluster := exportd.Cluster{CID: 1}
	for sid := vocab.SID(1); sid <= 4; sid++ {
		root := filepath.Join(dir, "storage_"+strconv.Itoa(int(sid)))
		if err := storaged.InitRoot(root, id, vocab.StorageID{CID: 1, SID: sid}); err != nil {
			log.Fatal(err)
		}
		s, err := storaged.New(storaged.Config{Roots: []storaged.RootConfig{{CID: 1, SID: sid, Path: root}}})
		cluster.Storages = append(cluster.Storages, exportd.Storage{SID: sid, Addr: serve(s, err)})
	}
	s, err := exportd.New(exportd.Config{
		Dir: filepath.Join(dir, "meta"), Cluster: id,
		Volumes: []exportd.Volume{{VID: 1, Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, Clusters: []exportd.Cluster{cluster}}},
		Exports: []exportd.Export{{EID: 1, Name: "export_1", Root: "/srv/rozofs/exports/export_1", VID: 1}},
	})
	exportdAddr = serve(s, err)
	return func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}
