package sim

import (
	"context"
	"fmt"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// versions describes what each storage has of a file, for the report of one that reads wrong.
func (ep *episode) versions(fid vocab.FID) string {
	var b strings.Builder
	for _, n := range ep.c.storages {
		if !n.up() {
			fmt.Fprintf(&b, "%s is missing\n", n.name)
			continue
		}
		conn, err := ep.c.net.dialer("admin")(context.Background(), n.addr(), wire.Hello{Role: wire.RoleExportd, Cluster: clusterID, Name: "sim"}, nil)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", n.name, err)
			continue
		}
		req := wire.BlocksRequest{
			Target: wire.Target{ID: n.id(), Incarnation: n.incarnation, Session: 1 << 63, Epoch: 1 << 62},
			FID:    fid,
		}
		var reply wire.VersionsReply
		buf, err := conn.Call(context.Background(), wire.OpVersions, &req, wire.Bulk{}, &reply)
		buf.Release()
		fmt.Fprintf(&b, "%s: error %v, condition %d, final %v", n.name, err, reply.Condition, reply.Final)
		for _, x := range reply.Blocks {
			fmt.Fprintf(&b, "; block %d: %d of %v", x.Block, x.Projection, x.Version)
		}
		b.WriteString("\n")
		_ = conn.Close()
	}
	return b.String()
}
