// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"
)

// Whatever came and went, what is found is what a map would find, by an appender
// that has known older pages too.
func TestSeriesRefsAreAMap(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		refs, finder, want := newSeriesRefs(), &seriesFinder{}, map[chunks.HeadSeriesRef]*memSeries{}
		for range 5_000 {
			ref := chunks.HeadSeriesRef(random.IntN(4 * refsPerPage))
			switch random.IntN(5) {
			case 0:
				want[ref] = &memSeries{ref: ref}
				refs.set(want[ref])
			case 1, 2:
				delete(want, ref)
				refs.delete(ref)
			default:
				require.Same(t, want[ref], finder.find(refs, ref), "seed %d, ref %d", seed, ref)
				require.Same(t, want[ref], refs.get(ref), "seed %d, ref %d", seed, ref)
			}
		}
		got := map[chunks.HeadSeriesRef]*memSeries{}
		for s := range refs.all() {
			got[s.ref] = s
		}
		require.Equal(t, want, got, "seed %d", seed)
		for ref := range want {
			refs.delete(ref)
		}
		require.Empty(t, refs.pages, "pages without a series stay")
	}
}

// For the race detector: appenders find and make series while others go.
func TestSeriesRefsAtOnce(t *testing.T) {
	const workers, each = 8, 20 * refsPerPage
	refs := newSeriesRefs()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			finder := &seriesFinder{}
			for i := range each {
				ref := chunks.HeadSeriesRef(i*workers + w)
				refs.set(&memSeries{ref: ref})
				if s := finder.find(refs, ref); s == nil || s.ref != ref {
					t.Errorf("ref %d: found %v", ref, s)
				}
				for range refs.all() {
					break
				}
				if i%3 > 0 {
					refs.delete(ref)
				}
			}
		})
	}
	wg.Wait()
	for i := range chunks.HeadSeriesRef(workers * each) {
		require.Equal(t, int(i)/workers%3 == 0, refs.get(i) != nil, "ref %d", i)
	}
}

// Run with: go test ./agent/upstream/tsdb/agent -run '^$' -bench SeriesRefs -benchmem.
func BenchmarkSeriesRefs(b *testing.B) {
	const series = 300_000
	refs, finder := newSeriesRefs(), &seriesFinder{}
	for i := range chunks.HeadSeriesRef(series) {
		refs.set(&memSeries{ref: i})
	}
	i := chunks.HeadSeriesRef(0)
	for b.Loop() {
		if finder.find(refs, i) == nil {
			b.Fatal("not found")
		}
		i = (i + 1) % series
	}
}
