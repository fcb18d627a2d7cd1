package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// answerTimeout bounds the time that a daemon on this machine may take to
// accept a connection and to answer.
const answerTimeout = 2 * time.Second

// call asks a daemon one question on a connection of its own.
func (c *Cluster) call(ctx context.Context, d Daemon, op wire.Op, req, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return call(ctx, d.Addr, c.Record.clusterID(), op, req, reply)
}

func call(ctx context.Context, addr string, id vocab.ClusterID, op wire.Op, req, reply wire.Message) error {
	conn, err := wire.Dial(ctx, addr, wire.Hello{Role: wire.RoleAdmin, Cluster: id, Name: "rozo"}, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	bulk, err := conn.Call(ctx, op, req, wire.Bulk{}, reply)
	bulk.Release()
	return err
}

// storage asks a storaged for its root.
func (c *Cluster) storage(ctx context.Context, d Daemon) (wire.StorageRoot, error) {
	var reply wire.StorageStatusReply
	if err := c.call(ctx, d, wire.OpStorageStatus, &wire.StorageStatusRequest{}, &reply); err != nil {
		return wire.StorageRoot{}, err
	}
	want := vocab.StorageID{CID: theCID, SID: d.SID}
	for _, r := range reply.Roots {
		if r.ID == want {
			return r, nil
		}
	}
	return wire.StorageRoot{}, fmt.Errorf("it does not serve storage %v: see %s", want, d.Conf)
}

// storageReady is nil when the storaged serves its root.
func (c *Cluster) storageReady(ctx context.Context, d Daemon) error {
	r, err := c.storage(ctx, d)
	if err == nil && !r.Health.Serves() {
		err = fmt.Errorf("storage %v is %v", r.ID, r.Health)
	}
	return err
}

func (c *Cluster) export(ctx context.Context, d Daemon) (wire.ExportStatusReply, error) {
	var reply wire.ExportStatusReply
	err := c.call(ctx, d, wire.OpExportStatus, &wire.Empty{}, &reply)
	return reply, err
}

// exportAnswers is nil when exportd serves.
func (c *Cluster) exportAnswers(ctx context.Context, d Daemon) error {
	_, err := c.export(ctx, d)
	return err
}

// exportReady is nil when exportd serves and has found every storage.
func (c *Cluster) exportReady(ctx context.Context, d Daemon) error {
	reply, err := c.export(ctx, d)
	if err != nil {
		return err
	}
	up := 0
	for _, s := range reply.Storages {
		if s.Health == wire.HealthUp {
			up++
		}
	}
	if up < len(c.Record.Storages) {
		return fmt.Errorf("exportd has found %d of %d storages", up, len(c.Record.Storages))
	}
	return nil
}

// mountReady is nil when the file system is mounted.
func (c *Cluster) mountReady(_ context.Context, _ Daemon) error {
	fsType, err := c.machine.mounted(c.Record.Mount)
	if err == nil && fsType != mountType {
		err = fmt.Errorf("%s is not mounted", c.Record.Mount)
	}
	return err
}
