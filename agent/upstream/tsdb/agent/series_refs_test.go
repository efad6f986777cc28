// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"

	"torchbearer/agent/packed"
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
				want[ref] = newMemSeries(ref, packed.Labels{}, 0)
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
			got[s.Ref()] = s
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
				refs.set(newMemSeries(ref, packed.Labels{}, 0))
				if s := finder.find(refs, ref); s == nil || s.Ref() != ref {
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
		refs.set(newMemSeries(i, packed.Labels{}, 0))
	}
	i := chunks.HeadSeriesRef(0)
	for b.Loop() {
		if finder.find(refs, i) == nil {
			b.Fatal("not found")
		}
		i = (i + 1) % series
	}
}

// An appender keeps the labels of series: a ref it has answered with is enough, and
// for another one it wants labels.
func TestAppendByRefAlone(t *testing.T) {
	db := createTestAgentDB(t, nil, DefaultOptions())
	defer db.Close()
	ls := labels.FromStrings("__name__", "a", "job", "j")
	app := db.AppenderV2(t.Context())
	keeper := app.(interface {
		LabelsOf(ref storage.SeriesRef) packed.Labels
	})
	ref, err := app.Append(0, ls, 0, 1, 1, nil, nil, storage.AOptions{})
	require.NoError(t, err)
	require.Equal(t, ls, keeper.LabelsOf(ref).Labels())
	require.True(t, keeper.LabelsOf(ref+1).IsEmpty())

	got, err := app.Append(ref, labels.EmptyLabels(), 0, 2, 1, nil, nil, storage.AOptions{})
	require.NoError(t, err)
	require.Equal(t, ref, got)
	_, err = app.Append(ref+1, labels.EmptyLabels(), 0, 2, 1, nil, nil, storage.AOptions{})
	require.ErrorIs(t, err, packed.ErrNeeded)
	_, err = app.Append(0, labels.EmptyLabels(), 0, 2, 1, nil, nil, storage.AOptions{})
	require.NotErrorIs(t, err, packed.ErrNeeded)
	require.Error(t, err)
	require.NoError(t, app.Commit())
}
