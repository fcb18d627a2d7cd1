package conf

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// fourSIDs is a cluster that suits layout 0.
const fourSIDs = `sids = ( { sid = 1; host = "a"; }, { sid = 2; host = "b"; }, { sid = 3; host = "c"; }, { sid = 4; host = "d"; } );`

// volume1 is a volume that suits layout 0, on one line.
const volume1 = `volumes = ( { vid = 1; cids = ( { cid = 1; ` + fourSIDs + ` } ); } );`

func TestExportConfOfRozoFSParsesAsItStands(t *testing.T) {
	e, warnings, err := LoadExport("testdata/export.conf")
	require.NoError(t, err)
	require.Empty(t, warnings)
	clearPos(e)
	require.Equal(t, &Export{
		Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4}, Listen: "*:53000", Meta: "/srv/rozofs/exportd", LeaseTerm: 20 * time.Second, ScrubDays: 7, ScrubRate: 32 << 20,
		Volumes: []Volume{{
			VID: 1, Layout: vocab.Layout{Inverse: 2, Forward: 3, Safe: 4},
			Clusters: []Cluster{{CID: 1, Storages: []Member{
				{SID: 1, Host: "node1", Port: 41001},
				{SID: 2, Host: "node2", Port: 41001},
				{SID: 3, Host: "node3", Port: 41001},
				{SID: 4, Host: "node4", Port: 41001},
			}}},
		}},
		Exports: []ExportEntry{{EID: 1, Name: "export_1", Root: "/srv/rozofs/exports/export_1", HardQuota: 100 << 30, VID: 1, BlockSize: 8192}},
	}, e)
}

func TestExportConfWithTooFewSIDsIsRefused(t *testing.T) {
	_, _, err := ParseExport("export.conf", []byte(`
layout = 0;                       # 0..2, default for volumes
volumes = ( { vid = 1; layout = 0;
  cids = ( { cid = 1; sids = ( { sid = 1; host = "node1"; }, { sid = 2; host = "node2"; } ); } ); } );
exports = ( { eid = 1; root = "/srv/rozofs/exports/export_1"; md5 = ""; squota = ""; hquota = "100G"; vid = 1; } );
`))
	require.Equal(t, []string{
		"export.conf:4: cluster 1 of volume 1 has 2 of the 4 sids that layout 2,3,4 needs at least: add 2, or choose a smaller layout",
	}, Problems(err))
}

func TestExportConfExtensionsAreRead(t *testing.T) {
	e, warnings, err := LoadExport("testdata/export-full.conf")
	require.NoError(t, err)
	require.Equal(t, []string{
		`testdata/export-full.conf:12: volume 7: ` + vocab.Layout{Inverse: 1, Forward: 3, Safe: 3}.Warning(),
		`testdata/export-full.conf:15: admin has no effect here: delete it`,
		`testdata/export-full.conf:28: md5 protects nothing: clients are not authenticated yet; set it to ""`,
		`testdata/export-full.conf:29: squota is above hquota and will never be reached`,
		`testdata/export-full.conf:34: filter keeps nobody out: every client that reaches exportd may mount; delete it`,
		`testdata/export-full.conf:35: flockp has no effect here: delete it`,
		`testdata/export-full.conf:37: exports 1024 and 2 are both named "home": mount them by their roots, or give each a name`,
	}, warnings)
	require.Equal(t, Pos{File: "testdata/export-full.conf", Line: 25, Column: 3}, e.Exports[0].Pos)
	clearPos(e)
	id, err := vocab.ParseClusterID("00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	mirror := vocab.Layout{Inverse: 1, Forward: 3, Safe: 3}
	require.Equal(t, &Export{
		Layout: vocab.Layout{Inverse: 4, Forward: 6, Safe: 8}, Listen: "[::1]:53001", Meta: "/var/lib/meta", Cluster: id, LeaseTerm: 300 * time.Second, ScrubDays: 0, ScrubRate: 64 << 20,
		Volumes: []Volume{{VID: 7, Layout: mirror, Clusters: []Cluster{{CID: 65535, Storages: []Member{
			{SID: 255, Host: "10.0.0.1", Port: 41002, Site: "3", Outer: "example.org"},
			{SID: 2, Host: "fe80::1", Port: 41001, Site: "rack b", Outer: "203.0.113.9:9000"},
			{SID: 3, Host: "node-3.example_x", Port: 41001},
		}}}}},
		Exports: []ExportEntry{
			{EID: 1024, Name: "home", Root: "/e/x", MD5: "5f4d", SoftQuota: 2 << 40, HardQuota: 1 << 40, VID: 7, BlockSize: 65536, Systematic: true, FilterName: "lan"},
			{EID: 2, Name: "home", Root: "/f/home", SoftQuota: 1234, VID: 7, BlockSize: 4096},
		},
	}, e)
	storages := e.Volumes[0].Clusters[0].Storages
	require.Equal(t, "[fe80::1]:41001", storages[1].Addr())
	require.Equal(t, "example.org:41002", storages[0].OuterAddr())
	require.Equal(t, "203.0.113.9:9000", storages[1].OuterAddr())
	require.Empty(t, storages[2].OuterAddr())
	require.Equal(t, "[::1]:53001", e.ListenAddr())
	require.Equal(t, ":53000", (&Export{Listen: DefaultListen}).ListenAddr())
	require.Equal(t, vocab.VID(7), e.Volume(7).VID)
	require.Nil(t, e.Volume(8))
	require.Equal(t, "/f/home", e.Export(2).Root)
	require.Nil(t, e.Export(3))
}

func TestExportProblems(t *testing.T) {
	long := strings.Repeat("h", 129)
	for _, c := range []struct{ name, text, want string }{
		{"empty", ``, `
f:1: volumes is missing in the file, expected volumes = ( { ... }, ... );
f:1: exports is missing in the file, expected exports = ( { ... }, ... );`},
		{"unknown keys", `
layuot = 0;
volumes = ( { vid = 1; cids = ( ); cdis = 3; colour = "red"; } );
exports = ( { eid = 1; rot = "/x"; vid = 1; HQUOTA = ""; } );`, `
f:2: unknown key "layuot" in the file: did you mean layout?
f:3: unknown key "cdis" in a volume: did you mean cids?
f:3: unknown key "colour" in a volume, expected one of vid, layout, cids
f:4: root is missing in an export, expected root = "/ABSOLUTE/PATH";
f:4: unknown key "rot" in an export: did you mean root?
f:4: unknown key "HQUOTA" in an export: did you mean hquota?`},
		{"wrong types", `
layout = 1.5; listen = 53000; meta = "meta"; cluster = "12"; lease_term = 1;
volumes = { vid = 1; };
exports = ( 3, { eid = "1"; root = 7; vid = 1L; bsize = "5K"; systematic = 1; squota = "1X"; hquota = -1; name = "a\n"; filter = true; md5 = 5; } );`, `
f:2: layout is 1.5, expected 0, 1, 2 or a triple in quotes, "INVERSE,FORWARD,SAFE"
f:2: listen is 53000, expected a string in quotes
f:2: meta is "meta", expected an absolute path, which begins with /
f:2: cluster is "12", expected 32 hexadecimal digits, with the dashes of a UUID or without, not all 0
f:2: lease_term is 1, expected an integer from 2 to 300
f:3: volumes is a group, expected a list of groups, ( { ... }, ... )
f:4: found 3 in exports, expected an export as a group, { name = value; ... }
f:4: eid is "1", expected an integer from 1 to 1024
f:4: root is 7, expected a string in quotes
f:4: bsize is "5K", expected "4K", "8K", "16K", "32K", "64K" or as many bytes
f:4: systematic is 1, expected true or false
f:4: squota is "1X", expected digits with K, M, G or T such as "100G", or "" for none
f:4: hquota is -1, expected digits with K, M, G or T such as "100G", or "" for none
f:4: name is "a\n", expected at most 255 printable bytes
f:4: filter is true, expected a string in quotes
f:4: md5 is 5, expected a string in quotes`},
		{"bounds", `
listen = "node1"; meta = "/";
volumes = ( { vid = 0; cids = ( { cid = 65536; sids = (
  { sid = 256; host = ""; port = 0; },
  { sid = 1; host = "` + long + `"; port = 65536; },
  { sid = 2; host = "a b"; outer = "x:y"; },
  { sid = 3; host = "http://c"; site = "` + "a\\x01" + `"; } ); } ); } );
exports = ( { eid = 1025; root = "relative"; vid = 70000; bsize = 128; hquota = "99999999999T"; } );`, `
f:2: listen is "node1", expected "HOST:PORT", where * is every address
f:2: meta is "/", expected a directory below /
f:3: vid is 0, expected an integer from 1 to 65535
f:3: cid is 65536, expected an integer from 1 to 65535
f:4: sid is 256, expected an integer from 1 to 255
f:4: host is "", expected a host name or an IP address of 1 to 128 characters
f:4: port is 0, expected an integer from 1 to 65535
f:5: host is "` + long[:60] + `"..., expected a host name or an IP address of 1 to 128 characters
f:5: port is 65536, expected an integer from 1 to 65535
f:6: host is "a b", expected a host name or an IP address of 1 to 128 characters
f:6: outer is "x:y", expected "HOST" or "HOST:PORT"
f:7: host is "http://c", expected a host name or an IP address of 1 to 128 characters
f:7: site is "a\x01", expected at most 255 printable bytes
f:8: eid is 1025, expected an integer from 1 to 1024
f:8: root is "relative", expected an absolute path, which begins with /
f:8: vid is 70000, expected an integer from 1 to 65535
f:8: bsize is 128, expected "4K", "8K", "16K", "32K", "64K" or as many bytes
f:8: hquota is "99999999999T", expected digits with K, M, G or T such as "100G", or "" for none`},
		{"duplicates", `
volumes = ( { vid = 1; cids = ( { cid = 1; ` + fourSIDs + ` },
                                { cid = 1; sids = ( { sid = 1; host = "x"; }, { sid = 1; host = "y"; }, { sid = 3; host = "c"; }, { sid = 4; host = "z"; } ); } ); },
            { vid = 1; cids = ( { cid = 1; ` + fourSIDs + ` } ); } );
exports = ( { eid = 1; root = "/a/b"; vid = 1; },
            { eid = 1; root = "/a//b/"; vid = 1; } );
exports = ( );`, `
f:3: cid 1 of volume 1 is used twice, first at line 2
f:3: sid 1 of cluster 1 is used twice, first at line 3
f:3: cid 1, sid 3 on c:41001 is used twice, first at line 2
f:4: vid 1 is used twice, first at line 2
f:4: cid 1, sid 1 on a:41001 is used twice, first at line 2
f:4: cid 1, sid 2 on b:41001 is used twice, first at line 2
f:4: cid 1, sid 3 on c:41001 is used twice, first at line 2
f:4: cid 1, sid 4 on d:41001 is used twice, first at line 2
f:6: eid 1 is used twice, first at line 5
f:6: root "/a/b" is used twice, first at line 5
f:7: exports is set twice in this group, first at line 5: delete one`},
		{"missing", `
volumes = ( { } , { vid = 2; cids = ( { }, { cid = 1; sids = ( { } ); } ); } );
exports = ( { } );`, `
f:2: vid is missing in a volume, expected vid = NUMBER;
f:2: cids is missing in a volume, expected cids = ( { ... }, ... );
f:2: cid is missing in a cluster, expected cid = NUMBER;
f:2: sids is missing in a cluster, expected sids = ( { ... }, ... );
f:2: cluster 1 of volume 2 has 1 of the 4 sids that layout 2,3,4 needs at least: add 3, or choose a smaller layout
f:2: sid is missing in a storage, expected sid = NUMBER;
f:2: host is missing in a storage, expected host = "NAME OR ADDRESS";
f:3: eid is missing in an export, expected eid = NUMBER;
f:3: root is missing in an export, expected root = "/ABSOLUTE/PATH";
f:3: vid is missing in an export, expected vid = NUMBER;`},
		{"no such volume", volume1 + `
exports = ( { eid = 1; root = "/a"; vid = 2; } );`, `
f:2: vid 2 is not among the volumes`},
		{"layouts", `
layout = 3;
volumes = ( { vid = 1; cids = ( { cid = 1; sids = ( ); } ); },
            { vid = 2; layout = "2,3,5"; cids = ( ); } );
exports = ( );`, `
f:2: layout 3: want 0 (2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple INVERSE,FORWARD,SAFE
f:4: layout 2,3,5: want inverse + forward > safe, so that every read meets the last write`},
		{"syntax and meaning at once", `
volumes = ( { vid = 1; cids = ( { cid = ; sids = ( { sid = 1; host = node1; } ); } ); } );
exports = ( { eid = 0; root = "/a"; vid = 1; } );`, `
f:2: found ";", expected a value
f:2: cluster ? of volume 1 has 1 of the 4 sids that layout 2,3,4 needs at least: add 3, or choose a smaller layout
f:2: found "node1", expected a value: text needs quotes
f:3: eid is 0, expected an integer from 1 to 1024`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _, err := ParseExport("f", []byte(c.text))
			require.Nil(t, e)
			require.Equal(t, strings.TrimPrefix(c.want, "\n"), strings.Join(Problems(err), "\n"))
		})
	}
}

func TestAMistakeCausesNoComplaintOfWhatItHides(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"volumes unreadable", `volumes = foo; exports = ( { eid = 1; root = "/a"; vid = 1; } );`, `
f:1: found "foo", expected a value: text needs quotes`},
		{"a list is not closed", `
volumes = ( { vid = 1; cids = ( { cid = 1; ` + fourSIDs + ` } ); }
exports = ( { eid = 1; root = "/a"; vid = 1; } );`, `
f:3: found the setting "exports", but the "(" of line 2 is open: expected ")"`},
		{"a group is not closed", `
volumes = ( { vid = 1; cids = ( { cid = 1; ` + fourSIDs + ` ); } );
exports = ( { eid = 1; root = "/a"; vid = 1; } );`, `
f:2: found ")", but the "{" of line 2 is open: expected "}"`},
		{"a quote is not closed", `
volumes = ( { vid = 1; cids = ( { cid = 1; sids = (
  { sid = 1; host = "a; },
  { sid = 2; host = "b"; }, { sid = 3; host = "c"; }, { sid = 4; host = "d"; } ); } ); } );
exports = ( { eid = 1; root = "/a"; vid = 1; } );`, `
f:3: the string "a; }," is not closed on its line: end it with a quote, write line feeds as \n`},
		{"the file ends early", `
volumes = ( { vid = 1; cids = ( { cid = 1; sids = ( { sid = 1;`, `
f:2: "(" is never closed: expected ")" before the end of the file
f:2: "{" is never closed: expected "}" before the end of the file
f:2: "(" is never closed: expected ")" before the end of the file
f:2: "{" is never closed: expected "}" before the end of the file
f:2: "(" is never closed: expected ")" before the end of the file
f:2: "{" is never closed: expected "}" before the end of the file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := ParseExport("f", []byte(c.text))
			require.Equal(t, strings.TrimPrefix(c.want, "\n"), strings.Join(Problems(err), "\n"))
		})
	}
}

// clearPos takes the positions out, for comparison.
func clearPos(e *Export) {
	for i := range e.Volumes {
		v := &e.Volumes[i]
		v.Pos = Pos{}
		for j := range v.Clusters {
			v.Clusters[j].Pos = Pos{}
			for k := range v.Clusters[j].Storages {
				v.Clusters[j].Storages[k].Pos = Pos{}
			}
		}
	}
	for i := range e.Exports {
		e.Exports[i].Pos = Pos{}
	}
}
