package exportd

import (
	"fmt"
	"testing"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/stretchr/testify/require"
)

var layout0 = vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}

// makeCluster reads members as "domain:percent free", percent "-" for down.
func makeCluster(cid vocab.CID, members ...string) clusterView {
	c := clusterView{cid: cid}
	for i, m := range members {
		var domain string
		var percent uint64
		up := true
		if _, err := fmt.Sscanf(m, "%1s:%d", &domain, &percent); err != nil {
			domain, up, percent = m[:1], false, 99
		}
		c.members = append(c.members, member{sid: vocab.SID(i + 1), domain: domain, up: up, total: 100_000, free: percent * 1000})
	}
	return c
}

func TestChoose(t *testing.T) {
	for _, x := range []struct {
		name     string
		clusters []clusterView
		cid      vocab.CID
		sids     []vocab.SID
		err      error
	}{
		{"most free space first, least last", []clusterView{makeCluster(1, "a:10", "b:40", "c:20", "d:30")}, 1, []vocab.SID{2, 4, 3, 1}, nil},
		{"the emptier cluster", []clusterView{makeCluster(1, "a:10", "b:10", "c:10", "d:10"), makeCluster(2, "a:90", "b:80", "c:70", "d:60")}, 2, []vocab.SID{1, 2, 3, 4}, nil},
		{"a cluster that is too small is passed over", []clusterView{makeCluster(1, "a:99", "b:99", "c:99"), makeCluster(2, "a:4", "b:3", "c:2", "d:1")}, 2, []vocab.SID{1, 2, 3, 4}, nil},
		{"down ones are spares", []clusterView{makeCluster(1, "a-", "b:40", "c:20", "d:30")}, 1, []vocab.SID{2, 4, 3, 1}, nil},
		{"down ones are left out when there are others", []clusterView{makeCluster(1, "a-", "b:40", "c:20", "d:30", "e:1")}, 1, []vocab.SID{2, 4, 3, 5}, nil},
		{"one per failure domain", []clusterView{makeCluster(1, "a:90", "a:80", "b:70", "c:60", "d:50")}, 1, []vocab.SID{1, 3, 4, 5}, nil},
		{"too few domains: as many as there are", []clusterView{makeCluster(1, "a:90", "a:80", "a:70", "b:60", "c:10")}, 1, []vocab.SID{1, 2, 4, 5}, nil},
		{"a second of a domain before one that is down", []clusterView{makeCluster(1, "a:90", "a:80", "b:70", "c:60", "d-")}, 1, []vocab.SID{1, 2, 3, 4}, nil},
		{"too few answer", []clusterView{makeCluster(1, "a:90", "b:80", "c-", "d-")}, 0, nil, vocab.Unavailable},
		{"full", []clusterView{makeCluster(1, "a:0", "b:0", "c:50", "d:50")}, 0, nil, vocab.NoSpace},
		{"no cluster", nil, 0, nil, vocab.Unavailable},
	} {
		t.Run(x.name, func(t *testing.T) {
			d, err := choose(&volumeView{x.clusters}, layout0, 7)
			if x.err != nil {
				require.ErrorIs(t, err, x.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, vocab.Distribution{CID: x.cid, Generation: 1, SIDs: x.sids}, d)
		})
	}
}

func TestChooseBalancesEqualStorages(t *testing.T) {
	const files, storages = 10_000, 10
	var members []string
	for i := range storages {
		members = append(members, fmt.Sprintf("%c:50", 'a'+i))
	}
	v := &volumeView{[]clusterView{makeCluster(1, members...)}}
	at := map[int]map[vocab.SID]int{}
	for seed := range uint64(files) {
		d, err := choose(v, layout0, seed)
		require.NoError(t, err)
		seen := map[vocab.SID]bool{}
		for i, sid := range d.SIDs {
			require.False(t, seen[sid])
			seen[sid] = true
			if at[i] == nil {
				at[i] = map[vocab.SID]int{}
			}
			at[i][sid]++
		}
		again, err := choose(v, layout0, seed)
		require.NoError(t, err)
		require.Equal(t, d, again)
	}
	for i, counts := range at {
		for sid, n := range counts {
			require.InDelta(t, files/storages, n, files/storages/4, "storage %d at place %d", sid, i)
		}
	}
}

func TestReplacement(t *testing.T) {
	for _, x := range []struct {
		name     string
		members  []string
		position int
		want     vocab.SID
	}{
		{"the one with most free space", []string{"a:10", "b:10", "c:10", "d:10", "e:20", "f:30"}, 0, 6},
		{"a domain that no other has, before space", []string{"a:10", "b:10", "c:10", "d:10", "b:90", "a:20"}, 0, 6},
		{"a domain twice rather than nobody", []string{"a:10", "b:10", "c:10", "d:10", "b:90"}, 0, 5},
		{"not one that is down", []string{"a:10", "b:10", "c:10", "d:10", "e-", "f:1"}, 2, 6},
		{"not one that is full", []string{"a:10", "b:10", "c:10", "d:10", "e:0"}, 2, 0},
		{"nobody", []string{"a:10", "b:10", "c:10", "d:10"}, 1, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			v := &volumeView{[]clusterView{makeCluster(1, x.members...)}}
			require.Equal(t, x.want, replacement(v, &vocab.Distribution{CID: 1, SIDs: []vocab.SID{1, 2, 3, 4}}, x.position, 7))
		})
	}
	require.Zero(t, replacement(&volumeView{}, &vocab.Distribution{CID: 1, SIDs: []vocab.SID{1, 2, 3, 4}}, 0, 7), "no such cluster")
}

func TestTooFull(t *testing.T) {
	for _, x := range []struct {
		name    string
		members []string
		want    int
	}{
		{"the fullest home, when another has room", []string{"a:30", "b:20", "c:30", "d:5", "e:60"}, 1},
		{"not a spare", []string{"a:60", "b:60", "c:60", "d:5", "e:62"}, -1},
		{"not for a little", []string{"a:30", "b:30", "c:30", "d:30", "e:33"}, -1},
		{"nobody to go to", []string{"a:30", "b:20", "c:30", "d:5"}, -1},
	} {
		t.Run(x.name, func(t *testing.T) {
			v := &volumeView{[]clusterView{makeCluster(1, x.members...)}}
			require.Equal(t, x.want, tooFull(v, layout0, &vocab.Distribution{CID: 1, SIDs: []vocab.SID{1, 2, 3, 4}}, 7))
		})
	}
}
