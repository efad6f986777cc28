// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// known is what parseFloat of textparse makes of a text, which is not exported.
func known(s string) (float64, bool) {
	if strings.ContainsAny(s, "pP_") {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, err == nil
}

// readsAlike holds a number against the library.
func readsAlike(tb testing.TB, s string) {
	tb.Helper()
	want, wantOK := known(s)
	got, ok := readValue([]byte(s))
	if ok != wantOK || ok && math.Float64bits(got) != math.Float64bits(want) {
		tb.Errorf("%q is %v (%x), %v, want %v (%x), %v", s, got, math.Float64bits(got), ok, want, math.Float64bits(want), wantOK)
	}
}

func TestValuesAreReadAsByTheLibrary(t *testing.T) {
	for s := range strings.FieldsSeq(`0 -0 +0 1 -1 +1 00 007 . -. +. .5 -.5 5. 5.e1 5.5 1.2.3 1..2 e e5 1e 1e+ 1e- 1e5 1E5 1e+5 1e-5 1e05 1e0005 1e5.5 1e5e5
		1e22 1e23 1e-22 1e-23 9007199254740991 9007199254740992 9007199254740993 9007199254740993.0 9007199254740992e22 9007199254740993e22
		-9007199254740992e-22 123456789012345678 1234567890123456789 9999999999999999999 18446744073709551615 18446744073709551616
		99999999999999999999 0.0000000000000000001 0.00000000000000000001 1e308 1e309 -1e309 1e-323 1e-324 5e-324 1e999 1e1000 1e-999
		NaN nan -NaN +NaN Inf +Inf -Inf inf infinity Infinity 0x1p4 0x1P-2 1p4 1_000 0x10 1_0.5 1e1_0 -- -+1 1- 1a a1 ١ 1.5x 4.219469831e+09
		2.2250738585072011e-308 0.1 0.2 0.3 1.7976931348623157e308 4.9406564584124654e-324`) {
		readsAlike(t, s)
	}
	readsAlike(t, "")
	readsAlike(t, " 1")
	readsAlike(t, "1\x00")
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := math.Float64frombits(r.Uint64())
		switch r.IntN(4) {
		case 0:
			v = r.Float64()
		case 1:
			v = r.NormFloat64() * math.Pow10(r.IntN(40)-20)
		case 2:
			v = float64(r.Int64N(1<<54)) * math.Pow10(-r.IntN(20))
		default:
		}
		readsAlike(t, strconv.FormatFloat(v, "gefGE"[r.IntN(5)], r.IntN(20)-1, 64))
		readsAlike(t, strconv.FormatFloat(v, 'g', -1, 64))
	}
}

func FuzzKnownNumbers(f *testing.F) {
	for _, s := range []string{"1.5e-7", "-0", "9007199254740993", "0.30000000000000004", "1e22", "NaN", "0x1p-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { readsAlike(t, s) })
}

// BenchmarkReadValue: GOFLAGS=-pgo=off go test -run '^$' -bench ReadValue ./agent/upstream/scrape.
func BenchmarkReadValue(b *testing.B) {
	for _, s := range []string{"7", "1234567890", "4.219469831e+09", "1.2345678901234e+13", "0.8437561", "0.30000000000000004"} {
		b.Run(fmt.Sprintf("text=%s/by=known", s), func(b *testing.B) {
			text := []byte(s)
			for b.Loop() {
				if _, ok := readValue(text); !ok {
					b.Fatal(s)
				}
			}
		})
		b.Run(fmt.Sprintf("text=%s/by=library", s), func(b *testing.B) {
			for b.Loop() {
				if _, ok := known(s); !ok {
					b.Fatal(s)
				}
			}
		})
	}
}
