package rozofs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/exportd"
	"github.com/rozofs-go/rozo/rozofs/wire"
	"github.com/rozofs-go/rozo/storaged"
)

// A root that is being rebuilt is lost too: the next one gets all, also what the first had
// got already.
func TestARootThatIsLostDuringItsRebuildIsRebuiltAnew(t *testing.T) {
	const lost = 1
	c := startCluster(t, form{"0", false})
	m := c.mount(t)
	all := c.fill(m, 24)
	m.close()
	c.allAtHome()

	server, gate := c.export.server.(*exportd.Server), c.storages[lost].gate
	rebuild := func() wire.Task {
		for _, task := range server.Tasks() {
			if task.Kind == wire.TaskRebuild {
				return task
			}
		}
		return wire.Task{}
	}
	gate.hold(wire.OpSync) // what it has got is not durable: no file is done
	c.replaceRoot(lost)
	c.restartStorage(lost)
	require.Eventually(t, gate.hasHeld, patience, 10*time.Millisecond, "the rebuild has begun")
	first := rebuild().Started
	c.replaceRoot(lost)
	gate.release(wire.OpSync)
	c.restartStorage(lost)
	require.Eventually(t, func() bool { return rebuild().Started > first }, patience, 10*time.Millisecond, "it begins anew")
	c.task(wire.TaskRebuild)
	_, err := storaged.ReadRoot(c.storages[lost].root)
	require.NoError(t, err)
	require.NoFileExists(t, c.storages[lost].root+"/rozofs.partial")
	c.foldStorages()
	c.allWhole()
	c.surviveLosses(all)
}
