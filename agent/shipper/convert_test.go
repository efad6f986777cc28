// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

func withName(name string) labels.Labels { return labels.FromStrings("__name__", name, "pod", "p") }

func custom(bounds ...float64) *histogram.Histogram {
	h := &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, CustomValues: bounds, Count: uint64(len(bounds) + 1), Sum: 7,
		PositiveSpans: []histogram.Span{{Length: uint32(len(bounds) + 1)}}, PositiveBuckets: make([]int64, len(bounds)+1),
	}
	h.PositiveBuckets[0] = 1
	return h
}

func stale() float64 { return math.Float64frombits(promvalue.StaleNaN) }

// spelt is what points say.
func spelt(points []point) []string {
	var all []string
	for _, p := range points {
		value := fmt.Sprint(p.v)
		if promvalue.IsStaleNaN(p.v) {
			value = "stale"
		}
		if p.isHistogram() {
			value = "histogram"
		}
		all = append(all, fmt.Sprintf("%s=%s@%d", p.series.labels(), value, p.t))
	}
	return all
}

// Each histogram as the library converts it.
func TestConvertAsTheLibrary(t *testing.T) {
	whole := custom(1, 2.5, 10)
	sparse := &histogram.Histogram{
		Schema: histogram.CustomBucketsSchema, CustomValues: []float64{1, 2, 3, 4}, Count: 3, Sum: 1,
		PositiveSpans: []histogram.Span{{Offset: 1, Length: 1}, {Offset: 2, Length: 1}}, PositiveBuckets: []int64{1, 1},
	}
	gone := custom(1, 2)
	gone.Sum = stale()
	set := &settings{convert: true}
	for name, h := range map[string]any{
		"integers": whole, "floats": whole.ToFloat(nil), "sparse": sparse, "sparse floats": sparse.ToFloat(nil),
		"no bounds": custom(), "stale": gone,
	} {
		t.Run(name, func(t *testing.T) {
			s := logSeries(withName("m"))
			p := point{series: s, t: 5, st: 3, other: &other{}}
			switch h := h.(type) {
			case *histogram.Histogram:
				p.other.histogram = h
			case *histogram.FloatHistogram:
				p.other.floatHistogram = h
			}
			var want []point
			if err := histogram.ConvertNHCBToClassic(h, s.labels().Labels(), labels.NewBuilder(labels.EmptyLabels()), func(ls labels.Labels, v float64) error {
				want = append(want, point{series: &series{logged: packed.Of(ls)}, t: 5, v: v})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			got, converted := set.appendConverted(nil, &p, classicBounds{})
			if diff := cmp.Diff(spelt(want), spelt(got)); diff != "" || !converted {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, p := range got {
				if p.st != 3 {
					t.Errorf("start time %d", p.st)
				}
			}
		})
	}
}

func TestConvertASeriesOverTime(t *testing.T) {
	set := &settings{version: 1, convert: true, perRequest: 100}
	cache := newSeriesCache()
	w := &window{}
	batch := func(b logged.Batch) {
		w.add(&b, set, cache, lookupNamed)
	}
	histogramAt := func(t int64, h *histogram.Histogram) logged.Batch {
		return logged.Batch{Histograms: []record.RefHistogramSample{{Ref: 1, T: t, H: h}}}
	}
	// ship sends what is in the window; twice, as after a reload.
	ship := func() []string {
		var r request
		w.next(0, set, &r)
		first := spelt(r.points)
		w.next(0, set, &r)
		if diff := cmp.Diff(first, spelt(r.points)); diff != "" {
			t.Errorf("made again it is another request: %s", diff)
		}
		r.bounds.keep()
		w.reset(logged.Position{}, 1, 100)
		return first
	}
	w.reset(logged.Position{}, 1, 100)
	batch(histogramAt(1, custom(1, 2)))
	if got := ship(); len(got) != 5 {
		t.Errorf("%v", got)
	}
	batch(histogramAt(2, custom(1, 3)))
	if got := ship(); len(got) != 6 || got[5] != `{__name__="m_bucket", le="2.0", n="0001"}=stale@2` {
		t.Errorf("the bucket that is gone: %v", got)
	}
	batch(logged.Batch{Samples: []record.RefSample{{Ref: 1, T: 3, V: stale()}}})
	want := []string{
		`{__name__="m_bucket", le="1.0", n="0001"}=stale@3`, `{__name__="m_bucket", le="3.0", n="0001"}=stale@3`,
		`{__name__="m_bucket", le="+Inf", n="0001"}=stale@3`, `{__name__="m_count", n="0001"}=stale@3`, `{__name__="m_sum", n="0001"}=stale@3`,
	}
	if diff := cmp.Diff(want, ship()); diff != "" {
		t.Errorf("the end: -want +got:\n%s", diff)
	}
	batch(logged.Batch{Samples: []record.RefSample{{Ref: 1, T: 4, V: 1}}})
	if diff := cmp.Diff([]string{`{__name__="m", n="0001"}=1@4`}, ship()); diff != "" {
		t.Errorf("after the end: -want +got:\n%s", diff)
	}
	// Classic series of one histogram are one series each, in one request, too.
	batch(histogramAt(5, custom(1)))
	batch(histogramAt(6, custom(1)))
	var r request
	w.next(0, set, &r)
	var g grouping
	if got := g.group(r.points, false); got[0].series != got[1].series || got[0].t != 5 || got[1].t != 6 {
		t.Errorf("not grouped: %v", spelt(got))
	}
}
