// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

func TestWindow(t *testing.T) {
	w, cache := &window{}, newSeriesCache()
	set := &settings{version: 1, exemplars: true, perRequest: 2}
	w.reset(logged.Position{Generation: 1}, 3, 2)
	for at := range int64(4) {
		b := &logged.Batch{}
		for ref := range 5 {
			b.Samples = append(b.Samples, sample(ref+1, at+1, 0))
		}
		w.add(b, set, cache, lookupNamed)
		w.add(&logged.Batch{Exemplars: []record.RefExemplar{{Ref: 2, T: at + 1, V: 9}, {Ref: 99, T: at, V: 9}}}, set, cache, lookupNamed)
	}
	if w.points != 20 || !w.full(1) || w.orphans != 4 || w.left(set) != 20 || w.cut() != 20 || !w.again || !w.renewed {
		t.Errorf("%+v", w)
	}
	var r request
	got, exemplars := map[string][]int64{}, 0
	for shard := range 3 {
		for {
			w.next(shard, set, &r)
			if r.done == 0 {
				break
			}
			if r.kept > 2 || countSamples(r.points) != r.kept {
				t.Errorf("a request of %d", r.kept)
			}
			for i, p := range r.points {
				if p.isExemplar() {
					exemplars++
					if before := r.points[i-1]; before.series != p.series || before.t != p.t {
						t.Errorf("an exemplar at %d behind a sample at %d", p.t, before.t)
					}
					continue
				}
				n := p.series.logged.Get("n")
				got[n] = append(got[n], p.t)
			}
			w.plan.Done[shard] = r.done
		}
	}
	want := map[string][]int64{}
	for ref := range 5 {
		want[serial(ref+1)] = sequence(4)
	}
	if diff := cmp.Diff(want, got); diff != "" || exemplars != 4 || w.left(set) != 0 {
		t.Errorf("%d exemplars, %d left, -want +got:\n%s", exemplars, w.left(set), diff)
	}
}

// The next process cuts the same requests, though it does not know what this one
// knew of the time before the window.
func TestWindowIsCutAgainTheSame(t *testing.T) {
	set := &settings{version: 1, perRequest: 3}
	b := &logged.Batch{}
	for i := range 40 {
		b.Samples = append(b.Samples, sample(i%4+1, int64(i/4+1), 0))
	}
	cut := func(newest int64) (done [][]int, points int) {
		w, cache := &window{}, newSeriesCache()
		for ref := range 4 {
			cache.get(chunks.HeadSeriesRef(ref+1), set, lookupNamed).newest = newest
		}
		w.reset(logged.Position{}, 3, 3)
		w.add(b, set, cache, lookupNamed)
		done = make([][]int, 3)
		var r request
		for shard := range 3 {
			for w.next(shard, set, &r); r.done != 0; w.next(shard, set, &r) {
				done[shard] = append(done[shard], r.done)
				w.plan.Done[shard] = r.done
				points += len(r.points)
			}
		}
		return done, points
	}
	known, few := cut(4)
	unknown, all := cut(-1)
	if diff := cmp.Diff(known, unknown); diff != "" || few != 24 || all != 40 {
		t.Errorf("%d and %d points, by one and the other:\n%s", few, all, diff)
	}
}

// Memory does not grow with max_shards times what histograms weigh.
func TestWindowIsBounded(t *testing.T) {
	w, cache := &window{}, newSeriesCache()
	set := &settings{version: 1, histograms: true, perRequest: 2000}
	w.reset(logged.Position{}, 200, 2000)
	h := &histogram.Histogram{PositiveSpans: []histogram.Span{{Length: 160}}, PositiveBuckets: make([]int64, 160)}
	n := 0
	for ; !w.full(1); n++ {
		w.add(&logged.Batch{Histograms: []record.RefHistogramSample{{Ref: 1, T: int64(n), H: h}}}, set, cache, lookupNamed)
	}
	if n < 2000 || n > maxWindow/40 {
		t.Errorf("a window has room for %d histograms of 160 buckets", n)
	}
	w.reset(logged.Position{}, 200, 10_000)
	n = 0
	b := &logged.Batch{}
	for ref := range 1000 {
		b.Samples = append(b.Samples, sample(ref+1, 0, 0))
	}
	for ; !w.full(1); n++ {
		for i := range b.Samples {
			b.Samples[i].T = int64(n) + maxWindow
		}
		w.add(b, set, cache, lookupNamed)
	}
	if w.points > maxWindow+1000 {
		t.Errorf("a window has room for %d samples", w.points)
	}
}

// After a reload what has no answer leaves by the new settings.
func TestWindowResolvesAgain(t *testing.T) {
	w, cache := &window{}, newSeriesCache()
	w.reset(logged.Position{}, 1, 10)
	w.add(&logged.Batch{Samples: []record.RefSample{sample(1, 1, 0), sample(2, 1, 0), sample(1, 0, 0)}}, &settings{version: 1}, cache, lookupNamed)
	w.plan.Done[0] = 1
	w.resolve(&settings{version: 2}, newResolver())
	for i, version := range []uint16{1, 2, 0} {
		if got := w.shards[0][i].series.version; got != version {
			t.Errorf("series %d is by version %d", i, got)
		}
	}
	if w.left(&settings{version: 2}) != 1 {
		t.Error("what stands for a repeat is to be sent")
	}
}

// TestWindowTakesWholeRequests: a record more does not go into a window when it
// would make a request of a few points.
func TestWindowTakesWholeRequests(t *testing.T) {
	for _, tc := range []struct {
		shards, requests, points, more int
		full                           bool
	}{
		{1, 1, 0, 5000, false},
		{1, 1, 900, 5000, false},
		{1, 1, 1515, 485, false},
		{1, 1, 1515, 505, true},
		{1, 1, 2000, 1, true},
		{1, 3, 2900, 5000, false},
		{1, 3, 5025, 505, false},
		{1, 3, 5555, 505, true},
		{2, 2, 3000, 505, false},
		{2, 2, 3535, 505, true},
		{2, 2, 3750, 1, true},
		{2, 3, 5625, 1, true},
	} {
		w := &window{}
		w.reset(logged.Position{}, tc.shards, 2000)
		w.points, w.requests = tc.points, tc.requests
		if got := w.full(tc.more); got != tc.full {
			t.Errorf("%d points of %d shards, %d requests, are full before %d more: %v", tc.points, tc.shards, tc.requests, tc.more, got)
		}
	}
}
