// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"

	"torchbearer/agent/packed"
)

// Whatever came and went, and however many have one hash, what is found is what a
// map by labels would find.
func TestSeriesHashmapIsAMap(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		names, hashes := 1+random.IntN(200), uint64(1+random.IntN(100))
		hashOf := func(name int) uint64 { return uint64(name) % hashes * 0x9E3779B97F4A7C15 }
		m, want := seriesHashmap{}, map[int]*memSeries{}
		for step := range 4_000 {
			name := random.IntN(names)
			lset := packed.Of(labels.FromStrings("name", strconv.Itoa(name)))
			s := want[name]
			switch random.IntN(4 + step/1_000) { // It grows, then it shrinks.
			case 0, 1:
				s = newMemSeries(chunks.HeadSeriesRef(step+1), lset, 0)
				s.id = s.id.with(hashOf(name))
				m.Set(s)
				want[name] = s
			case 2:
				require.Same(t, s, m.Get(hashOf(name), lset), "seed %d, step %d", seed, step)
			default:
				other := newMemSeries(chunks.HeadSeriesRef(step+1), lset, 0)
				other.id = other.id.with(hashOf(name))
				m.Delete(other) // It is not there.
				if s != nil {
					m.Delete(s)
					delete(want, name)
				}
			}
			require.Equal(t, len(want), m.count)
		}
		got := map[int]*memSeries{}
		for _, s := range m.all() {
			name, err := strconv.Atoi(s.lset.Get("name"))
			require.NoError(t, err)
			got[name] = s
		}
		require.Equal(t, want, got, "seed %d", seed)
		for name := range names {
			require.Same(t, want[name], m.Get(hashOf(name), packed.Of(labels.FromStrings("name", strconv.Itoa(name)))))
		}
		for _, s := range m.all() {
			m.Delete(s)
		}
		require.Zero(t, m.count)
		require.LessOrEqual(t, len(m.slots), fewestSlots, "it keeps memory for what is gone")
	}
}

// TestMemSeriesIsSmall: there is one for each series of the log.
func TestMemSeriesIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(memSeries{}), uintptr(32))
}
