package conf_test

import (
	"fmt"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

func ExampleParseExport() {
	_, _, err := conf.ParseExport("export.conf", []byte(`
layuot = 0;
volumes = ( { vid = 1; cids = ( { cid = 1; sids = ( { sid = 1; host = node1; } ); } ); } );
exports = ( { eid = 1; root = "/srv/x"; vid = 2; } );
`))
	for _, line := range conf.Problems(err) {
		fmt.Println(line)
	}
	// Output:
	// export.conf:2: unknown key "layuot" in the file: did you mean layout?
	// export.conf:3: cluster 1 of volume 1 has 1 of the 4 sids that layout 2,3,4 needs at least: add 3, or choose a smaller layout
	// export.conf:3: found "node1", expected a value: text needs quotes
	// export.conf:4: vid 2 is not among the volumes
}

func ExampleStorage_Format() {
	s := &conf.Storage{
		Listen:   []conf.Listen{{Addr: "*"}},
		Storages: []conf.StorageRoot{{CID: 1, SID: 2, Root: "/srv/rozofs/storages/storage_1_2"}},
	}
	if err := s.Validate(); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s", s.Format())
	// Output:
	// listen = (
	//   {
	//     addr = "*";
	//   }
	// );
	// storages = (
	//   {
	//     cid = 1;
	//     sid = 2;
	//     root = "/srv/rozofs/storages/storage_1_2";
	//   }
	// );
}
