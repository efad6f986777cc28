// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

// This file is Torchbearer's.

// refsPerPage series of neighbouring refs lie together. Refs are given out in
// turn, so those of a scrape are neighbours.
const refsPerPage = 32

// seriesRefs finds series by their refs. Its methods may be called concurrently.
type seriesRefs struct {
	mu    sync.RWMutex
	pages map[uint64]*refPage
}

// refPage changes under mu of its seriesRefs only.
type refPage [refsPerPage]atomic.Pointer[memSeries]

// get is nil, too, where there is no page.
func (p *refPage) get(ref chunks.HeadSeriesRef) *memSeries {
	if p == nil {
		return nil
	}
	return p[ref%refsPerPage].Load()
}

func newSeriesRefs() *seriesRefs { return &seriesRefs{pages: map[uint64]*refPage{}} }

func (r *seriesRefs) page(number uint64) *refPage {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.pages[number]
}

func (r *seriesRefs) get(ref chunks.HeadSeriesRef) *memSeries {
	return r.page(uint64(ref) / refsPerPage).get(ref)
}

func (r *seriesRefs) set(s *memSeries) {
	ref := s.Ref()
	number := uint64(ref) / refsPerPage
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[number]
	if p == nil {
		p = &refPage{}
		r.pages[number] = p
	}
	p[ref%refsPerPage].Store(s)
}

func (r *seriesRefs) delete(ref chunks.HeadSeriesRef) {
	number := uint64(ref) / refsPerPage
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pages[number]
	if p == nil {
		return
	}
	p[ref%refsPerPage].Store(nil)
	for i := range p {
		if p[i].Load() != nil {
			return
		}
	}
	delete(r.pages, number)
}

// all is every series that was there when it began and is still when its turn
// comes.
func (r *seriesRefs) all() iter.Seq[*memSeries] {
	r.mu.RLock()
	pages := slices.AppendSeq(make([]*refPage, 0, len(r.pages)), maps.Values(r.pages))
	r.mu.RUnlock()
	return func(yield func(*memSeries) bool) {
		for _, p := range pages {
			for i := range p {
				if s := p[i].Load(); s != nil && !yield(s) {
					return
				}
			}
		}
	}
}

// LabelsOf are the labels of the series of a ref, or none if there is no such
// series any more. It may be called concurrently, also when db is closed.
func (db *DB) LabelsOf(ref storage.SeriesRef) packed.Labels {
	if s := db.series.GetByID(chunks.HeadSeriesRef(ref)); s != nil {
		return s.lset
	}
	return packed.Labels{}
}

// LabelsOf are the labels of the series of a ref that Append has answered with,
// for as long as the series is there. It is not for samples of others meanwhile.
func (a *appenderBase) LabelsOf(ref storage.SeriesRef) packed.Labels {
	if s := a.known.find(a.series.refs, chunks.HeadSeriesRef(ref)); s != nil {
		return s.lset
	}
	return packed.Labels{}
}

// seriesFinder finds the series of one appender, whose refs follow one another.
type seriesFinder struct {
	number uint64
	page   *refPage
}

func (f *seriesFinder) find(in *seriesRefs, ref chunks.HeadSeriesRef) *memSeries {
	number := uint64(ref) / refsPerPage
	if f.number == number {
		if s := f.page.get(ref); s != nil {
			return s
		}
	}
	// A page that became empty may have been followed by another one.
	f.page, f.number = in.page(number), number
	return f.page.get(ref)
}
