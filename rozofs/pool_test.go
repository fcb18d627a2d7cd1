package rozofs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A client that is closed has let go of its connections, and no error of theirs tells why.
func TestAClosedClientHasNoConnections(t *testing.T) {
	n := &node{started: true, tried: make(chan struct{})}
	close(n.tried)
	_, err := n.connection(t.Context())
	require.ErrorIs(t, err, errClosed)
}
