package wire

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

// messages is every message of the protocol, and what is coded by a function of
// its own because it is stored as well.
var messages = []func() Message{
	of[Hello], of[errorBody], of[Empty], of[Head], of[Lease], of[StorageRoot],
	of[OpenSessionRequest], of[OpenSessionReply], of[ReclaimRequest], of[ReclaimReply], of[RenewReply],
	of[RecallRequest], of[StoragesReply],
	of[NameRequest], of[InoRequest], of[AttrReply], of[SetAttrRequest], of[MknodRequest], of[CreateRequest],
	of[OpenRequest], of[OpenReply], of[SymlinkRequest], of[ReadlinkReply], of[LinkRequest], of[RenameRequest],
	of[XattrRequest], of[XattrReply], of[XattrNamesReply], of[SetXattrRequest],
	of[ReaddirRequest], of[ReaddirReply], of[StatFSReply], of[CommitRequest], of[ReleaseRequest], of[ExportStatusReply],
	of[LockRequest], of[LockReply], of[ReclaimLocksRequest], of[ReclaimLocksReply], of[LockTurnRequest],
	of[WriteRequest], of[WriteReply], of[ReadRequest], of[ReadReply], of[SyncRequest], of[DiscardRequest],
	of[DeleteRequest], of[FenceRequest], of[FinalRequest], of[BlocksRequest], of[UnsettledReply], of[SettleRequest], of[VersionsReply], of[ExtentsReply], of[RepairRequest], of[RepairReply], of[MarkRequest], of[FilesRequest], of[FilesReply],
	of[TaskRequest], of[Task], of[TaskFindings], of[TasksReply], of[BootReply], of[StorageStatusRequest], of[StorageStatusReply],
	of[storedPlacement], of[blob],
}

func of[T any, M interface {
	*T
	Message
}]() Message {
	return M(new(T))
}

type storedPlacement struct{ vocab.Placement }

func (m *storedPlacement) Code(c *Codec) { CodePlacement(c, &m.Placement) }

type blob struct{ B []byte }

func (m *blob) Code(c *Codec) { c.Bytes(&m.B, 100) }

func nameOf(m Message) string { return reflect.TypeOf(m).Elem().Name() }

func TestTheRegistryOfTheTestsNamesEveryMessage(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var known []string
	for _, make := range messages {
		known = append(known, nameOf(make()))
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "Code" {
				continue
			}
			found++
			require.Contains(t, known, fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name)
		}
	}
	require.Greater(t, found, 30)
}

// fillRandomly sets every field to a random value that the protocol allows.
func fillRandomly(r *rand.Rand, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *LeaseKind:
		*p = LeaseKind(r.IntN(int(LeaseWrite) + 1))
		return
	case *LockState:
		*p = LockState(r.IntN(int(LockLater) + 1))
		return
	case *Lock:
		a, b := r.Uint64(), r.Uint64()
		*p = Lock{r.Uint64(), r.Uint32(), LockKind(r.IntN(int(LockFlock) + 1)), LockType(r.IntN(int(LockWrite) + 1)), min(a, b), max(a, b)}
		return
	case *SlotState:
		*p = SlotState(r.IntN(int(SlotBroken) + 1))
		return
	case *Run:
		*p = Run{Generation: r.Uint32(), First: r.Uint64N(MaxBlockIndex + 1), Count: r.Uint32N(MaxRunBlocks + 1)}
		fillRandomly(r, v.FieldByName("FID"))
		return
	case *Piece:
		*p = Piece{Count: r.Uint32N(MaxRunBlocks + 1), State: SlotState(r.IntN(int(SlotBroken) + 1))}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillRandomly(r, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fillRandomly(r, v.Index(i))
		}
	case reflect.Slice:
		if n := r.IntN(6); n > 0 { // an empty one comes back as nil
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fillRandomly(r, v.Index(i))
			}
		}
	case reflect.String:
		b := make([]byte, r.IntN(60))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 1)
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()))
	default:
		panic(fmt.Sprintf("no random values for %v", v.Type()))
	}
}

// eachMessage runs the test with many random values of every message.
func eachMessage(t *testing.T, run func(t *testing.T, m Message, fresh func() Message)) {
	for _, fresh := range messages {
		t.Run(nameOf(fresh()), func(t *testing.T) {
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 0))
			defer func() {
				if t.Failed() {
					t.Log("seed", seed)
				}
			}()
			for range 60 {
				m := fresh()
				fillRandomly(r, reflect.ValueOf(m).Elem())
				run(t, m, fresh)
			}
		})
	}
}

func TestEveryMessageComesBackAsItWas(t *testing.T) {
	eachMessage(t, func(t *testing.T, m Message, fresh func() Message) {
		b := Marshal([]byte("before"), m)
		require.Equal(t, "before", string(b[:6]))
		got := fresh()
		require.NoError(t, Unmarshal(b[6:], got))
		require.Equal(t, m, got)
	})
}

func TestBytesAfterTheKnownFieldsAreIgnored(t *testing.T) {
	eachMessage(t, func(t *testing.T, m Message, fresh func() Message) {
		got := fresh()
		require.NoError(t, Unmarshal(append(Marshal(nil, m), "fields of a later version"...), got))
		require.Equal(t, m, got)
	})
}

func TestEveryTruncatedMessageIsAProtocolError(t *testing.T) {
	eachMessage(t, func(t *testing.T, m Message, fresh func() Message) {
		b := Marshal(nil, m)
		for n := range len(b) {
			require.ErrorIs(t, Unmarshal(b[:n:n], fresh()), vocab.Protocol, "%d of %d bytes", n, len(b))
		}
	})
}

func TestADecodedMessageDoesNotAliasItsInput(t *testing.T) {
	eachMessage(t, func(t *testing.T, m Message, fresh func() Message) {
		b := Marshal(nil, m)
		got := fresh()
		require.NoError(t, Unmarshal(b, got))
		for i := range b {
			b[i] = ^b[i]
		}
		require.Equal(t, m, got)
	})
}

func TestAMessageDecodedTwiceHoldsTheSecond(t *testing.T) {
	eachMessage(t, func(t *testing.T, m Message, fresh func() Message) {
		got := fresh()
		fillRandomly(rand.New(rand.NewPCG(1, 2)), reflect.ValueOf(got).Elem())
		require.NoError(t, Unmarshal(Marshal(nil, m), got))
		require.Equal(t, m, got)
	})
}

func TestValuesOverTheLimitsAreRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct{ at, over Message }{
		"path":      {&SymlinkRequest{Target: long(MaxPath)}, &SymlinkRequest{Target: long(MaxPath + 1)}},
		"entry":     {&ReaddirReply{Entries: []Entry{{Name: long(255)}}}, &ReaddirReply{Entries: []Entry{{Name: long(256)}}}},
		"entries":   {&ReaddirReply{Entries: make([]Entry, MaxEntries)}, &ReaddirReply{Entries: make([]Entry, MaxEntries+1)}},
		"held":      {&ReclaimRequest{Held: make([]Held, MaxHeld)}, &ReclaimRequest{Held: make([]Held, MaxHeld+1)}},
		"released":  {&ReleaseRequest{Items: make([]ReleaseItem, MaxHeld)}, &ReleaseRequest{Items: make([]ReleaseItem, MaxHeld+1)}},
		"fids":      {&DeleteRequest{FIDs: make([]vocab.FID, MaxFIDs)}, &DeleteRequest{FIDs: make([]vocab.FID, MaxFIDs+1)}},
		"sids":      {placed(vocab.MaxSafe), placed(vocab.MaxSafe + 1)},
		"run":       {&ReadRequest{Run: Run{First: MaxBlockIndex, Count: MaxRunBlocks}}, &ReadRequest{Run: Run{Count: MaxRunBlocks + 1}}},
		"first":     {&ReadRequest{}, &ReadRequest{Run: Run{First: MaxBlockIndex + 1}}},
		"pieces":    {&ReadReply{Pieces: make([]Piece, MaxRunBlocks)}, &ReadReply{Pieces: make([]Piece, MaxRunBlocks+1)}},
		"piece":     {&ReadReply{Pieces: []Piece{{MaxRunBlocks, SlotBroken}}}, &ReadReply{Pieces: []Piece{{MaxRunBlocks + 1, SlotBroken}}}},
		"state":     {&ReadReply{Pieces: []Piece{{1, SlotBroken}}}, &ReadReply{Pieces: []Piece{{1, SlotBroken + 1}}}},
		"locks":     {&ReclaimLocksRequest{Locks: make([]HeldLock, MaxHeld)}, &ReclaimLocksRequest{Locks: make([]HeldLock, MaxHeld+1)}},
		"turns":     {&LockTurnRequest{Tickets: make([]uint64, MaxTurns)}, &LockTurnRequest{Tickets: make([]uint64, MaxTurns+1)}},
		"lock kind": {&LockRequest{Lock: Lock{Kind: LockFlock}}, &LockRequest{Lock: Lock{Kind: LockFlock + 1}}},
		"lock type": {&LockRequest{Lock: Lock{Type: LockWrite}}, &LockRequest{Lock: Lock{Type: LockWrite + 1}}},
		"lock end":  {&LockRequest{Lock: Lock{Start: 5, End: 5}}, &LockRequest{Lock: Lock{Start: 5, End: 4}}},
		"decision":  {&LockReply{State: LockLater}, &LockReply{State: LockLater + 1}},
		"lease":     {&Lease{Kind: LeaseWrite}, &Lease{Kind: LeaseWrite + 1}},
		"peer name": {&Hello{Name: long(255)}, &Hello{Name: long(256)}},
		"blob":      {&blob{make([]byte, 100)}, &blob{make([]byte, 101)}},
	} {
		t.Run(name, func(t *testing.T) {
			fresh := func() Message { return reflect.New(reflect.TypeOf(c.at).Elem()).Interface().(Message) }
			require.NoError(t, Unmarshal(Marshal(nil, c.at), fresh()))
			require.ErrorIs(t, Unmarshal(Marshal(nil, c.over), fresh()), vocab.Protocol)
		})
	}
}

func placed(storages int) Message {
	return &OpenReply{Placement: vocab.Placement{Distribution: vocab.Distribution{SIDs: make([]vocab.SID, storages)}}}
}

func TestABoolIsZeroOrOne(t *testing.T) {
	b := Marshal(nil, &ReadReply{})
	require.NoError(t, Unmarshal(b, &ReadReply{}))
	b = Marshal(nil, &CreateRequest{Exclusive: true})
	at := slices.Index(b, 1)
	b[at] = 2
	require.ErrorContains(t, Unmarshal(b, &CreateRequest{}), "bool is 2")
}

func TestACountThatTheMessageCannotHoldIsRefused(t *testing.T) {
	b := Marshal(nil, &SyncRequest{})
	b[len(b)-4] = 200 // FIDs announced, none there
	var m SyncRequest
	require.ErrorIs(t, Unmarshal(b, &m), vocab.Protocol)
	require.Nil(t, m.FIDs, "nothing was allocated for them")
}

func TestNoMessageCodesToNothing(t *testing.T) {
	require.Equal(t, []byte("x"), Marshal([]byte("x"), nil))
	require.NoError(t, Unmarshal([]byte("anything"), nil))
}

func TestACodecKnowsItsDirectionAndKeepsTheFirstError(t *testing.T) {
	c := Codec{decoding: true}
	require.True(t, c.Decoding())
	c.Fail("first")
	c.Fail("second")
	require.ErrorContains(t, c.err, "first")
	require.False(t, (&Codec{}).Decoding())
}

func TestASessionHeadIsSetAsAWhole(t *testing.T) {
	want := Head{Session: 1, RequestID: 2, Done: 3, UID: 4, GID: 5}
	var m CommitRequest
	m.SetHead(want)
	require.Equal(t, want, m.Head)
}

func TestLeasesAndHealthHaveNames(t *testing.T) {
	require.Equal(t, []string{"none", "read", "write"}, []string{LeaseNone.String(), LeaseRead.String(), LeaseWrite.String()})
	require.Equal(t, []string{"down", "up", "failed", "replaced"},
		[]string{HealthDown.String(), HealthUp.String(), HealthFailed.String(), HealthReplaced.String()})
}
