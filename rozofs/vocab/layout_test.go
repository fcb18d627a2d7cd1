package vocab

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNumberedLayoutsAreThoseOfRozoFS(t *testing.T) {
	for n, want := range []Layout{{2, 3, 4}, {4, 6, 8}, {8, 12, 16}} {
		l, err := LayoutByNumber(n)
		require.NoError(t, err)
		require.Equal(t, want, l)
		require.NoError(t, l.Validate())
		require.Empty(t, l.Warning())
	}
	for _, n := range []int{-1, 3, math.MaxInt} {
		_, err := LayoutByNumber(n)
		require.ErrorContains(t, err, "want 0 (2,3,4), 1 (4,6,8), 2 (8,12,16) or a triple")
	}
}

func TestParseLayoutReadsNumbersAndTriples(t *testing.T) {
	for s, want := range map[string]Layout{
		"0": {2, 3, 4}, "1": {4, 6, 8}, "2": {8, 12, 16}, " 1 ": {4, 6, 8},
		"2,3,4": {2, 3, 4}, "1,2,2": {1, 2, 2}, " 8 , 12 , 12 ": {8, 12, 12}, "31,32,32": {31, 32, 32},
	} {
		got, err := ParseLayout(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
}

func TestALayoutComesBackFromItsText(t *testing.T) {
	for inverse := range uint8(6) {
		for forward := range uint8(8) {
			for safe := range uint8(10) {
				l := Layout{inverse, forward, safe}
				got, err := ParseLayout(l.String())
				require.Equal(t, l, got)
				require.Equal(t, l.Validate() == nil, err == nil)
			}
		}
	}
}

func TestParseLayoutSaysWhatIsWrong(t *testing.T) {
	for s, want := range map[string][]string{
		"":         {`layout "": want 0, 1, 2 or a triple INVERSE,FORWARD,SAFE such as 2,3,4`},
		"two":      {`layout "two"`, "such as 2,3,4"},
		"3":        {"layout 3: want 0 (2,3,4)"},
		"-1":       {"layout -1"},
		"2,3":      {`layout "2,3"`, "such as 2,3,4"},
		"2,3,4,5":  {`layout "2,3,4,5"`, "such as 2,3,4"},
		"2,x,4":    {`"x" is not a number from 1 to 32`},
		"2,3,":     {`"" is not a number`},
		"2,3,256":  {`"256" is not a number`},
		"2,-3,4":   {`"-3" is not a number`},
		"0,3,4":    {"layout 0,3,4: want 1 <= inverse < forward <= safe", "want inverse + forward > safe"},
		"3,3,4":    {"1 <= inverse < forward <= safe"},
		"2,5,4":    {"1 <= inverse < forward <= safe"},
		"2,3,5":    {"layout 2,3,5: want inverse + forward > safe"},
		"30,31,33": {"layout 30,31,33: safe is at most 32"},
		"0,9,200":  {"inverse < forward", "at most 32", "inverse + forward > safe"},
	} {
		_, err := ParseLayout(s)
		require.Error(t, err, s)
		for _, w := range want {
			require.ErrorContains(t, err, w, s)
		}
	}
}

func TestAllProblemsOfALayoutAreNamedAtOnce(t *testing.T) {
	err := Layout{5, 4, 40}.Validate()
	require.Len(t, strings.Split(err.Error(), "\n"), 3)
	require.NoError(t, Layout{20, 32, 32}.Validate())
}

func TestALayoutWithTooFewSparesIsWarnedOf(t *testing.T) {
	for l, warned := range map[Layout]bool{
		{2, 3, 4}: false, {2, 4, 5}: true, {2, 4, 6}: false, {8, 12, 12}: true, {8, 12, 16}: false, {1, 2, 2}: true, {1, 2, 3}: false,
	} {
		if !warned {
			require.Empty(t, l.Warning(), l)
			continue
		}
		require.Contains(t, l.Warning(), "layout "+l.String())
		require.Contains(t, l.Warning(), "more storages in safe mend that")
	}
}

func TestAGeometryIsValidated(t *testing.T) {
	good := Geometry{Layout: Layout{2, 3, 4}, ElementBytes: 8, BlockBytes: DefaultBlockBytes}
	require.NoError(t, good.Validate())
	for _, n := range []uint32{MinBlockBytes, MaxBlockBytes, 16 << 10} {
		g := good
		g.BlockBytes = n
		require.NoError(t, g.Validate())
	}
	for _, n := range []uint8{8, 16, 32, 64} {
		g := good
		g.ElementBytes = n
		require.NoError(t, g.Validate())
	}
	for want, change := range map[string]func(*Geometry){
		"inverse + forward > safe":      func(g *Geometry) { g.Layout = Layout{2, 3, 5} },
		"block size 0: want a power":    func(g *Geometry) { g.BlockBytes = 0 },
		"block size 2048":               func(g *Geometry) { g.BlockBytes = MinBlockBytes / 2 },
		"block size 131072":             func(g *Geometry) { g.BlockBytes = MaxBlockBytes * 2 },
		"block size 12288":              func(g *Geometry) { g.BlockBytes = 12 << 10 },
		"element width 0: want 8":       func(g *Geometry) { g.ElementBytes = 0 },
		"element width 24: want 8, 16,": func(g *Geometry) { g.ElementBytes = 24 },
	} {
		g := good
		change(&g)
		require.ErrorContains(t, g.Validate(), want)
	}
}
