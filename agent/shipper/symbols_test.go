// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

// TestSymbolsAreFoundAgain has series whose labels shift against those of the
// series before: the table must be the same as without that help.
func TestSymbolsAreFoundAgain(t *testing.T) {
	points := []point{
		{series: &series{logged: packed.Of(labels.FromStrings("a", "1", "b", "2", "d", "4"))}},
		{series: &series{logged: packed.Of(labels.FromStrings("b", "2", "c", "3", "d", "4"))}},
		{series: &series{logged: packed.Of(labels.FromStrings("a", "b", "d", "4", "e", "d"))}},
		{series: &series{}},
		{series: &series{logged: packed.Of(labels.FromStrings("a", "1", "b", "2", "d", "4"))}},
	}
	e := newEncoder(true, encodeOptions{})
	for range 2 { // the second request knows nothing of the first
		req := decode2(t, e.encode(nil, points))
		if diff := cmp.Diff([]string{"", "a", "1", "b", "2", "d", "4", "c", "3", "e"}, req.Symbols); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestEncoderKeepsNothingLarge has one giant request before a small one.
func TestEncoderKeepsNothingLarge(t *testing.T) {
	many := &series{logged: packed.Of(labels.FromStrings("__name__", "many"))}
	giant := make([]point, keepSymbols+1)
	for i := range giant {
		giant[i].series = &series{logged: packed.Of(labels.FromStrings("__name__", strconv.Itoa(i)+string(make([]byte, 100))))}
		giant[i].v = 1
	}
	e := newEncoder(true, encodeOptions{}).(*encoder2)
	for len(giant) < keepBytes/16 {
		giant = append(giant, point{series: many, t: 1_700_000_000_000, v: 1})
	}
	if req := decode2(t, e.encode(nil, giant)); len(req.Timeseries) != keepSymbols+2 {
		t.Fatalf("%d series, want %d", len(req.Timeseries), keepSymbols+2)
	}
	if cap(e.series) > keepBytes || e.symbols.refs != nil || e.symbols.table != nil {
		t.Errorf("keeps %d bytes and %d symbols", cap(e.series), len(e.symbols.refs))
	}
	if req := decode2(t, e.encode(nil, giant[:1])); len(req.Symbols) != 3 {
		t.Errorf("symbols of the request after it: %q", req.Symbols)
	}
	for _, shape := range e.symbols.shapes {
		for _, l := range shape.before[:cap(shape.before)] {
			if l.Name != "" {
				t.Errorf("holds on to label %s", l.Name)
			}
		}
	}
}
