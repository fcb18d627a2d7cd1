package vocab

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryKindHasATextOfItsOwn(t *testing.T) {
	seen := map[string]Kind{}
	for i, k := range Kinds() {
		require.EqualValues(t, i, k)
		require.NotEmpty(t, k.Error(), "kind %d", i)
		require.NotContains(t, k.Error(), "error kind", "kind %d", i)
		require.NotContains(t, seen, k.Error())
		seen[k.Error()] = k
	}
	require.Len(t, kindText, int(kindEnd))
	require.Equal(t, fmt.Sprintf("error kind %d", kindEnd), kindEnd.Error(), "one of a later version")
}

// The numbers are on the wire.
func TestTheNumbersOfTheKindsStay(t *testing.T) {
	for k, number := range map[Kind]uint16{
		Internal: 0, Invalid: 1, NotFound: 2, Exists: 3, NotDir: 4, IsDir: 5, NotEmpty: 6, NotPermitted: 7, AccessDenied: 8,
		NameTooLong: 9, TooManyLinks: 10, TooLarge: 11, NoSpace: 12, OverQuota: 13, ReadOnly: 14, CrossExport: 15, Stale: 16,
		NotSupported: 17, NoSession: 18, Fenced: 19, WrongIncarnation: 20, OldGeneration: 21, Unavailable: 22, Corrupt: 23,
		DiskFailed: 24, Busy: 25, Protocol: 26, Canceled: 27, NoData: 28, TooManyOpen: 29, Overloaded: 30,
	} {
		require.EqualValues(t, number, k, k.Error())
	}
}

func TestAnErrorIsAskedForItsKind(t *testing.T) {
	for _, k := range Kinds() {
		err := fmt.Errorf("reading: %w", Errorf(k, "block %d", 7))
		require.ErrorIs(t, err, k)
		for _, other := range Kinds() {
			require.Equal(t, other == k, errors.Is(err, other))
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, &Error{Kind: k, Text: "block 7"}, e)
		require.EqualError(t, err, "reading: "+k.Error()+": block 7")
	}
	require.EqualError(t, &Error{Kind: Busy}, "busy")
}
