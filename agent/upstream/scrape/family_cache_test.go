// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math"
	"math/rand/v2"
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
				require.Equal(t, isSeriesPartOfFamily(name, mfName, m.Type), m.has(e, labels.EmptyLabels(), mfName), "%s of %s %s", name, mfName, m.Type)
				require.Equal(t, isSeriesPartOfFamily(name, mfName, m.Type), m.has(nil, e.lset.Labels(), mfName))
			}
			if random.IntN(20) == 0 {
				cache.iter += 12
				cache.flushFamilies()
				cache.endFamilies()
				require.Empty(t, cache.metadata)
			}
		}
		require.True(t, remembered > 0 || seed%2 == 1)
	}
}
