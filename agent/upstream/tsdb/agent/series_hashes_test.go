// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"math/rand/v2"
	"strconv"
	"testing"

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
		hashOf := func(name int) uint64 { return uint64(name) % hashes << (30 + 4*(seed%4)) }
		m, want := seriesHashmap{}, map[int]*memSeries{}
		for step := range 4_000 {
			name := random.IntN(names)
			lset := packed.Of(labels.FromStrings("name", strconv.Itoa(name)))
			s := want[name]
			switch random.IntN(4 + step/1_000) { // It grows, then it shrinks.
			case 0, 1:
				s = &memSeries{ref: chunks.HeadSeriesRef(step + 1), hash: hashOf(name), lset: lset}
				m.Set(s)
				want[name] = s
			case 2:
				require.Same(t, s, m.Get(hashOf(name), lset), "seed %d, step %d", seed, step)
			default:
				m.Delete(hashOf(name), chunks.HeadSeriesRef(step+1)) // No series has that ref.
				if s != nil {
					m.Delete(s.hash, s.ref)
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
			m.Delete(s.hash, s.ref)
		}
		require.Zero(t, m.count)
		require.LessOrEqual(t, len(m.slots), fewestSlots, "it keeps memory for what is gone")
	}
}
