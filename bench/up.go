package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// RunOnNewCluster makes a cluster in a new directory within parent, measures its
// mount as RunFS does, stops it and removes it. Dir and Cluster of o are filled
// in; of up, Dir and Mount are.
func RunOnNewCluster(ctx context.Context, o FSOptions, up admin.Options, parent string, progress io.Writer) (report *FSReport, err error) {
	data, err := os.MkdirTemp(parent, "rozo-bench-cluster-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the cluster: %w", err)
	}
	up.Dir, up.Mount = filepath.Join(data, "data"), filepath.Join(data, "mnt")
	c, err := admin.Up(ctx, up, progress)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data)) // Up has stopped what it started
	}
	defer func() {
		downErr := c.Down(context.WithoutCancel(ctx), progress)
		c.Close()
		if downErr == nil {
			downErr = os.RemoveAll(data)
		}
		err = errors.Join(err, downErr)
	}()
	o.Dir, o.Cluster = up.Mount, up.Dir
	return RunFS(ctx, o, progress)
}
