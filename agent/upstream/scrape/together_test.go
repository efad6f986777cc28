// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// Scrapes of one process begin at few times a second, whatever their intervals
// are, and those of another one at others.
func TestScrapesBeginTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(seed uint64) map[time.Duration]int {
			times := map[time.Duration]int{}
			for i := range 300 {
				target := newTestTarget("example.com:80", 0, labels.FromStrings("label", strconv.Itoa(i)))
				interval := []time.Duration{time.Second, 15 * time.Second, time.Minute}[i%3]
				offset := target.offset(interval, seed)
				require.GreaterOrEqual(t, offset, time.Duration(0))
				require.LessOrEqual(t, offset, interval)
				times[time.Duration(time.Now().Add(offset).UnixNano())%time.Second]++
			}
			return times
		}
		one, other := at(1<<40), at(1<<40+7)
		require.Len(t, one, int(time.Second/together))
		for time, n := range one {
			require.InDelta(t, 75, n, 40, "%s", time)
			require.NotContains(t, other, time)
		}
	})
}

// An offset is moved by less than a step, and stays below the interval.
func TestBeginTogetherStaysInInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		interval := 1 + r.Uint64N(uint64([]time.Duration{3, 100, time.Second, time.Hour}[r.IntN(4)]))
		offset, seed := r.Uint64N(interval), r.Uint64()
		got := beginTogether(offset, interval, seed)
		moved := min((got-offset+interval)%interval, (offset-got+interval)%interval)
		require.Less(t, got, interval)
		require.LessOrEqual(t, moved, min(uint64(together), interval/4), "offset %d of %d by %d", offset, interval, seed)
	}
}
