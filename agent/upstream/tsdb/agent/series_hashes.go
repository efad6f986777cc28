// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

// This file is Torchbearer's.

// seriesHashmap lets agent find a memSeries by its label set, via a 64-bit hash
// that the series knows. It is an open-addressing table with linear probing, which
// takes a third of what maps by hash take. The zero value is empty.
type seriesHashmap struct {
	slots []*memSeries // a power of two of them; a quarter at least is nil
	count int
}

const fewestSlots = 8

// at is where the search for a hash begins. Stripes are told apart by the lowest
// bits.
func (m *seriesHashmap) at(hash uint64) int { return int(hash>>32) & (len(m.slots) - 1) }

func (m *seriesHashmap) next(i int) int { return (i + 1) & (len(m.slots) - 1) }

func (m *seriesHashmap) Get(hash uint64, lset packed.Labels) *memSeries {
	if m.count == 0 {
		return nil
	}
	return m.slots[m.find(hash, lset)]
}

// find is the slot of the series with those labels, or the empty one for it.
func (m *seriesHashmap) find(hash uint64, lset packed.Labels) int {
	i := m.at(hash)
	for s := m.slots[i]; s != nil && (s.hash != hash || !packed.Equal(s.lset, lset)); s = m.slots[i] {
		i = m.next(i)
	}
	return i
}

// Set takes a series, in place of one with the same labels if there is one.
func (m *seriesHashmap) Set(s *memSeries) {
	if m.count+1 > len(m.slots)/4*3 {
		m.resize(max(2*len(m.slots), fewestSlots))
	}
	i := m.find(s.hash, s.lset)
	if m.slots[i] == nil {
		m.count++
	}
	m.slots[i] = s
}

// Delete takes the series of that hash and ref out, if it is there.
func (m *seriesHashmap) Delete(hash uint64, ref chunks.HeadSeriesRef) {
	if m.count == 0 {
		return
	}
	i := m.at(hash)
	for ; m.slots[i] == nil || m.slots[i].hash != hash || m.slots[i].ref != ref; i = m.next(i) {
		if m.slots[i] == nil {
			return
		}
	}
	m.count--
	m.close(i)
	if len(m.slots) > fewestSlots && m.count < len(m.slots)/8 {
		m.resize(len(m.slots) / 2)
	}
}

// close empties a slot: what comes behind it, and was put there because it was
// taken, moves up.
func (m *seriesHashmap) close(gap int) {
	for i := m.next(gap); m.slots[i] != nil; i = m.next(i) {
		// Its search begins at or before the gap, so it would end there.
		if from := m.at(m.slots[i].hash); (i-from)&(len(m.slots)-1) >= (i-gap)&(len(m.slots)-1) {
			m.slots[gap], gap = m.slots[i], i
		}
	}
	m.slots[gap] = nil
}

func (m *seriesHashmap) resize(n int) {
	former := m.slots
	m.slots = make([]*memSeries, n)
	for _, s := range former {
		if s == nil {
			continue
		}
		i := m.at(s.hash)
		for m.slots[i] != nil {
			i = m.next(i)
		}
		m.slots[i] = s
	}
}

// all are the series in it, which may be deleted meanwhile.
func (m *seriesHashmap) all() []*memSeries {
	return slices.DeleteFunc(slices.Clone(m.slots), func(s *memSeries) bool { return s == nil })
}
