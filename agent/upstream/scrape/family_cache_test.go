// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// What is remembered of the family of a series is what its labels say, also after
// families changed their types, were forgotten, or were too many to be numbered.
func TestFamilyIsRememberedAsLabelsSay(t *testing.T) {
	names := []string{"a", "a_total", "a_sum", "a_bucket", "a_count", "b", "b_info", "b_gsum"}
	types := []model.MetricType{
		model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeGaugeHistogram,
		model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset, model.MetricTypeUnknown,
	}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 3))
		cache := newTestCache()
		if seed%2 == 1 {
			cache.numbered = math.MaxUint16 - 20
		}
		for i, name := range names {
			cache.addRef([]byte(name), 1, labels.FromStrings(model.MetricNameLabel, name))
			require.Zero(t, cache.entries.at(uint32(i)).family)
		}
		remembered := 0
		for range 2000 {
			mfName, m := cache.setType([]byte(names[random.IntN(len(names))]), types[random.IntN(len(types))])
			for range 5 {
				e := cache.entries.at(random.Uint32N(uint32(len(names))))
				if e.family == m.number && m.number != 0 {
					remembered++
				}
				name := e.lset.Get(model.MetricNameLabel)
				require.Equal(t, isSeriesPartOfFamily(name, mfName, m.metadata().Type), m.has(e, labels.EmptyLabels(), mfName), "%s of %s %s", name, mfName, m.metadata().Type)
				require.Equal(t, isSeriesPartOfFamily(name, mfName, m.metadata().Type), m.has(nil, e.lset.Labels(), mfName))
			}
			if random.IntN(20) == 0 {
				cache.iter += 12
				cache.flushFamilies()
				cache.endFamilies()
				require.Empty(t, cache.families)
			}
		}
		require.True(t, remembered > 0 || seed%2 == 1)
	}
}

// What a target told of its families is what a map by their names would have,
// whatever the order that they come in.
func TestFamiliesAreAsInAMap(t *testing.T) {
	types := []model.MetricType{model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeUnknown}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 4))
		cache := newTestCache()
		type told struct {
			MetricMetadata
			iter uint32
		}
		all := map[string]*told{}
		order := random.Perm(40)
		for range 100 {
			if random.IntN(4) == 0 {
				random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
			for _, n := range order[:random.IntN(len(order))] {
				name := fmt.Sprintf("family_%d", n)
				m := all[name]
				if m == nil {
					m = &told{MetricMetadata: MetricMetadata{MetricFamily: name, Type: model.MetricTypeUnknown}}
					all[name] = m
				}
				m.iter = cache.iter
				if random.IntN(3) > 0 {
					m.Help = fmt.Sprintf("Help %d.", random.IntN(2))
					_, e := cache.setHelp([]byte(name), []byte(m.Help))
					require.Equal(t, m.MetricMetadata, e.api())
				}
				if random.IntN(5) == 0 {
					m.Unit = []string{"seconds", "bytes"}[random.IntN(2)]
					cache.setUnit([]byte(name), []byte(m.Unit))
				}
				m.Type = types[(n+random.IntN(20)/19)%len(types)]
				_, e := cache.setType([]byte(name), m.Type)
				require.Equal(t, m.MetricMetadata, e.api())
				if random.IntN(10) == 0 {
					asked := fmt.Sprintf("family_%d", random.IntN(len(order)))
					got, ok := cache.GetMetadata(asked)
					want, there := all[asked]
					require.Equal(t, there, ok)
					require.True(t, !there || want.MetricMetadata == got)
				}
			}
			iter := cache.iter
			cache.iterDone(true)
			size, want := 0, []MetricMetadata{}
			for name, m := range all {
				if iter-m.iter > 10 {
					delete(all, name)
					continue
				}
				size += len(m.Help) + len(m.Unit) + len(m.Type)
				want = append(want, m.MetricMetadata)
			}
			require.ElementsMatch(t, want, cache.ListMetadata())
			require.Equal(t, size, cache.SizeMetadata())
			require.Equal(t, len(all), cache.LengthMetadata())
			require.Nil(t, cache.byName)
		}
	}
}

// TestFamilyIsSmall: many targets expose the same families, each of them all.
func TestFamilyIsSmall(t *testing.T) {
	const targets, families = 200, 200
	tell := func(cache *scrapeCache) {
		for i := range families {
			name := fmt.Appendf(nil, "some_family_%d_total", i)
			cache.setHelp(name, fmt.Appendf(nil, "What there was of %d, as an exporter tells it.", i))
			cache.setType(name, model.MetricTypeCounter)
		}
		cache.iterDone(true)
	}
	allocated := func() uint64 {
		runtime.GC()
		runtime.GC() // What no target says any more is found in the first one.
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	caches := make([]*scrapeCache, targets)
	for i := range caches {
		caches[i] = newTestCache()
	}
	tell(caches[0])
	before := allocated()
	for _, cache := range caches[1:] {
		tell(cache)
	}
	took := int64(allocated()-before) / ((targets - 1) * families)
	t.Logf("a family takes %d bytes of each target", took)
	require.Less(t, took, int64(50))
	runtime.KeepAlive(caches)
}
