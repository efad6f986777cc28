// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

// begin makes a series active, while the caller holds mu.
func (p *tablePage) begin(s *scribe, ref storage.SeriesRef) {
	p.owner.set(int(uint64(ref)%rowsPerPage), s.job)
	s.job.active.Add(1)
	s.job.created.Add(1)
	s.table.active.Add(1)
	s.table.created.Add(1)
	// Whoever makes an index publishes it before reading the rows: under mu, so
	// either the index is seen here, or the row there.
	if ix := s.table.index.Load(); ix != nil {
		ix.add(s.table.labels(p, chunks.HeadSeriesRef(ref)), chunks.HeadSeriesRef(ref))
	}
}

// end is the opposite of begin.
func (p *tablePage) end(t *table, number uint64, row int) {
	p.owner.get(row).active.Add(-1)
	t.active.Add(-1)
	if ix := t.index.Load(); ix != nil {
		ix.remove(t.labels(p, refOf(number, row)), refOf(number, row))
	}
}

func refOf(number uint64, row int) chunks.HeadSeriesRef {
	return chunks.HeadSeriesRef(number*rowsPerPage + uint64(row))
}

// rest ends the activity of the series that were not appended for a time. It is
// for the goroutine that calls age.
func (t *table) rest(now time.Time, idle time.Duration) {
	last := uint32(0)
	for _, e := range t.ended {
		if now.Sub(e.at) >= idle {
			last = e.number
		}
	}
	if last == 0 {
		return
	}
	for number, p := range t.snapshot() {
		p.rest(t, number, last)
	}
}

func (p *tablePage) rest(t *table, number uint64, last uint32) {
	tired := false
	for row := range p.seen {
		seen := p.seen[row].Load()
		tired = tired || seen != 0 && seen <= last
	}
	if !tired {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for row := range p.seen {
		if seen := p.seen[row].Load(); seen != 0 && seen <= last && p.seen[row].CompareAndSwap(seen, seen|resting) {
			p.end(t, number, row)
		}
	}
}

// eachActive calls f with the labels and the job of all active series.
func (t *table) eachActive(f func(ref chunks.HeadSeriesRef, ls packed.Labels, j *job)) {
	for number, p := range t.snapshot() {
		p.mu.Lock()
		for row := range p.seen {
			if seen := p.seen[row].Load(); seen != 0 && seen < resting {
				f(refOf(number, row), t.labels(p, refOf(number, row)), p.owner.get(row))
			}
		}
		p.mu.Unlock()
	}
}

// index finds out whether labels are of an active series. Of two series whose
// labels have the same hash both count as active while one of them is.
type index struct {
	mu    sync.Mutex
	refs  map[uint64]chunks.HeadSeriesRef // by hash
	hash  labels.ScratchBuilder           // is memory for those
	asked time.Time                       // the last time; guarded by admission.mu
}

// makeIndex gives the table an index of all active series, kept from then on.
func (t *table) makeIndex() *index {
	ix := &index{refs: make(map[uint64]chunks.HeadSeriesRef, t.active.Load())}
	t.index.Store(ix)
	t.eachActive(func(ref chunks.HeadSeriesRef, ls packed.Labels, _ *job) { ix.add(ls, ref) })
	return ix
}

func (ix *index) add(ls packed.Labels, ref chunks.HeadSeriesRef) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.refs[ls.Hash(&ix.hash)] = ref
}

// remove leaves what another ref has taken over alone.
func (ix *index) remove(ls packed.Labels, ref chunks.HeadSeriesRef) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	hash := ls.Hash(&ix.hash)
	if ix.refs[hash] == ref {
		delete(ix.refs, hash)
	}
}

func (ix *index) has(ls labels.Labels) bool {
	hash := ls.WithoutEmpty().Hash()
	ix.mu.Lock()
	defer ix.mu.Unlock()
	_, ok := ix.refs[hash]
	return ok
}
