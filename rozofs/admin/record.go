package admin

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rozofs-go/rozo/rozofs/conf"
	"github.com/rozofs-go/rozo/rozofs/vocab"
)

const (
	recordName   = "cluster.json"
	recordFormat = 1
)

// Record is cluster.json: what was chosen when the cluster was made.
type Record struct {
	Format      int       `json:"format"` // of this file: 1
	Cluster     string    `json:"cluster"`
	Dir         string    `json:"dir"`   // where it was last up; absolute
	Mount       string    `json:"mount"` // where it was last mounted; absolute
	Layout      string    `json:"layout"`
	Systematic  bool      `json:"systematic"`
	BlockBytes  uint32    `json:"block_size_bytes"`
	Export      string    `json:"export"`
	ExportdPort int       `json:"exportd_port"`
	Storages    []Storage `json:"storages"`
}

// Storage is one storage of the cluster, served by a storaged of its own.
type Storage struct {
	SID  vocab.SID `json:"sid"`
	Port int       `json:"port"`
	Made bool      `json:"made"` // its root has been given its identity
}

// loadRecord gives nil without an error when dir holds no cluster.
func loadRecord(dir string) (*Record, error) {
	name := filepath.Join(dir, recordName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cluster's record: %w", err)
	}
	r := &Record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w): restore it from a backup", name, err)
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("%s is damaged (%s): restore it from a backup", name, oneLine(err))
	}
	return r, nil
}

// validate refuses a record that this package cannot have written.
func (r *Record) validate() error {
	if r.Format != recordFormat {
		return fmt.Errorf("format %d, this program knows %d", r.Format, recordFormat)
	}
	layout, err := vocab.ParseLayout(r.Layout)
	if err != nil {
		return err
	}
	if len(r.Storages) < int(layout.Safe) || len(r.Storages) > MaxStorages {
		return fmt.Errorf("%d storages for layout %s", len(r.Storages), layout)
	}
	for i, s := range r.Storages {
		if int(s.SID) != i+1 {
			return fmt.Errorf("storage %d has sid %d", i+1, s.SID)
		}
	}
	_, err = vocab.ParseClusterID(r.Cluster)
	return err
}

func (r *Record) save(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the cluster's record: %w", err)
	}
	return conf.WriteFile(filepath.Join(dir, recordName), append(b, '\n'))
}

func newClusterID() string {
	var id vocab.ClusterID
	_, _ = rand.Read(id[:]) // never fails
	return id.String()
}

func (r *Record) layout() vocab.Layout {
	l, _ := vocab.ParseLayout(r.Layout) // validated when it was made or read
	return l
}

func (r *Record) clusterID() vocab.ClusterID {
	id, _ := vocab.ParseClusterID(r.Cluster) // likewise
	return id
}
