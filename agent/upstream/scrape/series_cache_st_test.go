// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// The state of an entry stays with it, where others before it are forgotten too,
// and ends with it.
func TestStartTimesStayWithTheirSeries(t *testing.T) {
	cache := newTestCache()
	text := func(i int) []byte { return fmt.Appendf(nil, "text_%d", i) }
	state := func(i int) *stCache {
		e, ok, _ := cache.get(text(i))
		require.True(t, ok)
		return cache.st(e)
	}
	for i := range 10 {
		e := cache.addRef(text(i), 1, labels.EmptyLabels())
		require.Nil(t, cache.st(e))
		if i%2 == 1 {
			cache.setST(e, &stCache{st: int64(i)})
		}
	}
	cache.iterDone(true)
	for i := 4; i < 10; i++ {
		if want := i % 2; want == 1 {
			require.EqualValues(t, i, state(i).st)
		} else {
			require.Nil(t, state(i))
		}
	}
	cache.iterDone(true) // 0 to 3 are forgotten.
	require.Len(t, cache.sts, 3)
	require.EqualValues(t, 7, state(7).st)

	again := cache.addRef(text(7), 2, labels.EmptyLabels())
	require.Nil(t, cache.st(again), "of a series that was added anew")
	e, _, _ := cache.get(text(9))
	cache.setST(e, nil)
	require.Len(t, cache.sts, 1)
}
