// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

// This file is Torchbearer's.

// seriesID is the ref of a series and, above refBits, the highest bits of the hash
// of its labels.
type seriesID uint64

// refBits of refs are given out in turn, and never used up.
const (
	refBits  = 40
	hashBits = 64 - refBits
)

func (id seriesID) ref() chunks.HeadSeriesRef { return chunks.HeadSeriesRef(id & (1<<refBits - 1)) }

func (id seriesID) hash() uint64 { return uint64(id >> refBits) }

// with is the id with that hash.
func (id seriesID) with(hash uint64) seriesID {
	return seriesID(id.ref()) | seriesID(hash>>refBits<<refBits)
}

// seriesHashmap lets agent find a memSeries by its label set, via a 64-bit hash
// of which the series knows a part. It is an open-addressing table with linear
// probing, which takes a third of what maps by hash take. The zero value is empty.
type seriesHashmap struct {
	slots []*memSeries // an eighth at least is nil
	count int
}

// fewestSlots are there, but for an empty table.
const fewestSlots = 8

// at is where the search for a part of a hash begins. Stripes are told apart by
// the lowest bits of hashes, which are not in it.
func (m *seriesHashmap) at(hash uint64) int { return int(hash * uint64(len(m.slots)) >> hashBits) }

func (m *seriesHashmap) next(i int) int {
	if i++; i < len(m.slots) {
		return i
	}
	return 0
}

// ahead is how far to is from a slot, in the direction of searches.
func (m *seriesHashmap) ahead(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(m.slots)
}

func (m *seriesHashmap) Get(hash uint64, lset packed.Labels) *memSeries {
	return m.get(hash, func(of packed.Labels) bool { return packed.Equal(of, lset) })
}

// GetPlain is Get for labels that are not packed: it makes nothing of them.
func (m *seriesHashmap) GetPlain(hash uint64, lset labels.Labels) *memSeries {
	return m.get(hash, func(of packed.Labels) bool { return of.Are(lset) })
}

func (m *seriesHashmap) get(hash uint64, is func(packed.Labels) bool) *memSeries {
	if m.count == 0 {
		return nil
	}
	return m.slots[m.find(hash>>refBits, is)]
}

// find is the slot of the series whose labels are those, or the empty one for it.
func (m *seriesHashmap) find(hash uint64, is func(packed.Labels) bool) int {
	i := m.at(hash)
	for s := m.slots[i]; s != nil && (s.id.hash() != hash || !is(s.lset)); s = m.slots[i] {
		i = m.next(i)
	}
	return i
}

// Set takes a series, in place of one with the same labels if there is one.
func (m *seriesHashmap) Set(s *memSeries) {
	if m.count+1 > len(m.slots)/8*7 {
		m.resize(m.count + 1)
	}
	i := m.find(s.id.hash(), func(of packed.Labels) bool { return packed.Equal(of, s.lset) })
	if m.slots[i] == nil {
		m.count++
	}
	m.slots[i] = s
}

// Delete takes a series out, if it is there.
func (m *seriesHashmap) Delete(s *memSeries) {
	if m.count == 0 {
		return
	}
	i := m.at(s.id.hash())
	for ; m.slots[i] != s; i = m.next(i) {
		if m.slots[i] == nil {
			return
		}
	}
	m.count--
	m.close(i)
	if len(m.slots) > fewestSlots && m.count < len(m.slots)/3 {
		m.resize(m.count)
	}
}

// close empties a slot: what comes behind it, and was put there because it was
// taken, moves up.
func (m *seriesHashmap) close(gap int) {
	for i := m.next(gap); m.slots[i] != nil; i = m.next(i) {
		// Its search begins at or before the gap, so it would end there.
		if m.ahead(m.at(m.slots[i].id.hash()), i) >= m.ahead(gap, i) {
			m.slots[gap], gap = m.slots[i], i
		}
	}
	m.slots[gap] = nil
}

// resize makes room for n series, of which three quarters are taken then.
func (m *seriesHashmap) resize(n int) {
	former := m.slots
	m.slots = make([]*memSeries, (n/6+1)*fewestSlots)
	for _, s := range former {
		if s == nil {
			continue
		}
		i := m.at(s.id.hash())
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
