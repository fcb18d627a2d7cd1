// Package conf reads, checks and writes the configuration files of Rozo: export.conf of exportd and storage.conf of
// storaged. The syntax is that of libconfig, the keys are those of RozoFS and some of our own, marked (+) below.
//
// [LoadExport] and [LoadStorage] give a configuration that is checked as a whole, with defaults filled in, or an error that
// joins one [*Error] for each problem of the file, in the order of the file; [Problems] makes lines of it. A program that
// generates a configuration fills an [Export] or a [Storage] and calls Validate, Format and [WriteFile]. [Parse] gives the
// bare syntax tree.
//
// # Syntax
//
//	file     = { setting }
//	setting  = name ( "=" | ":" ) value [ ";" | "," ]
//	name     = ( letter | "*" ) { letter | digit | "*" | "-" | "_" }    case matters, unique in its group
//	value    = scalar | group | list | array
//	group    = "{" { setting } "}"
//	list     = "(" [ value { "," value } [ "," ] ] ")"                  values of any kind
//	array    = "[" [ scalar { "," scalar } [ "," ] ] "]"                scalars of one kind
//	scalar   = integer | float | boolean | string
//	integer  = [ "+" | "-" ] ( decimal | "0x" hexadecimal ) [ "L" | "LL" ]    64 bits
//	float    = as in C, with a point or an exponent
//	boolean  = "true" | "false"                                         in any case
//	string   = literal { literal }                                      adjacent literals are one string
//	literal  = a double quote, characters and escapes, a double quote, on one line
//	escape   = \n \t \r \f \v \a \b \\ \" \xHH                          HH two hexadecimal digits
//	comment  = from "#" or "//" to the end of the line, or "/*" to "*/", which do not nest
//
// Where we are stricter than libconfig: @include is refused, so that one file holds all; a string ends on its line; a
// decimal integer does not begin with 0, because some read that as octal. Where we are laxer: a comma may follow the last
// member of a list, and more than one terminator may follow a setting.
//
// # Limits
//
// A file has at most [MaxFileBytes], [MaxDepth] brackets open at once and [MaxNodes] values. Reading ends where a limit is
// exceeded, with an error that names it. At most 100 problems are listed, with a count of the others.
//
// # export.conf
//
// At the top:
//
//	layout      layout of volumes that name none; default 0. 0 is (2,3,4), 1 is (4,6,8), 2 is (8,12,16), and (+) any triple
//	            "INVERSE,FORWARD,SAFE" with 1 <= inverse < forward <= safe <= 32 and inverse + forward > safe
//	listen  (+) "HOST:PORT" that exportd serves, * for every address; default "*:53000"
//	meta    (+) directory of the metadata database, an absolute path; default "/srv/rozofs/exportd"
//	cluster (+) identity of the installation, 32 hexadecimal digits or a UUID; default none
//	lease_term (+) seconds, 2 to 300; default 20
//	scrub_days (+) from the end of a scrub to the next, 0 to 365, 0 for none; default 7
//	scrub_rate (+) MiB per second that a scrub checks, 1 to 1048576; default 32
//	volumes     list of groups, required, may be empty
//	exports     list of groups, required, may be empty
//
// A volume:
//
//	vid         1 to 65535, required, unique
//	layout      as above; default the layout at the top
//	cids        list of clusters, required, may be empty
//
// A cluster:
//
//	cid         1 to 65535, required, unique in its volume
//	sids        list of storages, required, at least as many as the layout's safe
//	admin       of other versions: accepted, no effect, warning
//
// A storage of a cluster:
//
//	sid         1 to 255, required, unique in its cluster; cid, sid, host and port together are unique in the file
//	host        name or IP address, 1 to 128 characters, required
//	port    (+) of the data service, 1 to 65535; default 41001
//	site        failure domain above the host, a string or an integer; default none
//	outer   (+) "HOST" or "HOST:PORT" for clients outside the storages' network; default none; nothing
//	            uses it yet
//
// An export:
//
//	eid         1 to 1024, required, unique
//	root        absolute path by which clients mount it, at most 4095 bytes, required, unique
//	name        at most 255 printable bytes; default the last element of root; a warning when two share one
//	vid         the volume, required, must exist
//	squota      soft quota in bytes: digits with K, M, G or T (powers of 1024) in quotes, or an integer; default "", none;
//	            nothing uses it yet
//	hquota      hard quota, likewise: above it no new files, and no growth by truncation; writes are not yet refused
//	bsize       bytes of a block: 4K, 8K, 16K, 32K or 64K in quotes, or an integer; default 8K
//	systematic (+) true or false, whether new files are kept in systematic form; default false
//	filter      name of the filter of client addresses, at most 255 printable bytes; default none; nothing
//	            uses it yet
//	md5         password of old clients: accepted, protects nothing, warning unless ""
//	flockp      of other versions: accepted, no effect, warning
//
// # storage.conf
//
//	threads     requests that are worked on at once on one storage, 1 to 1024; default 4
//	listen      list of groups, required, at least one:
//	              addr    "*" for every address, an IP address or a host name, required
//	              port    1 to 65535; default 41001; addresses do not repeat or cover one another
//	storages    list of groups, required, at least one:
//	              cid     1 to 65535, required
//	              sid     1 to 255, required; cid and sid together are unique
//	              root    absolute path of an existing directory, required; no root is or lies inside another
//
// # What holds always
//
// A configuration that is returned without an error satisfies every rule above, except that roots exist, which
// [LoadStorageWithRoots] and [Storage.CheckRoots] tell. Input never causes a panic, and memory is bounded by the limits. What Format writes parses to
// the same value, positions apart. A key that nobody knows is an error, never ignored: it is a misspelt one.
//
// Functions and methods may be called at the same time; nothing here changes a configuration after it was returned.
package conf
