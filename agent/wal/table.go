// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

// rowsPerPage series of neighbouring refs lie together: those of a target do.
const rowsPerPage = 32

// table has the labels and metadata of all series of this process that
// something in the log, or a scrape, may need. Its methods may be called
// concurrently.
type table struct {
	// keeper has the labels of series as long as tsdb/agent knows them, and calls
	// keep before it forgets one; nil is none.
	keeper labelKeeper

	mu    sync.RWMutex
	pages map[uint64]*tablePage
	count atomic.Int64

	active  atomic.Int64          // series that are, as job has them
	created atomic.Int64          // how many became so
	index   atomic.Pointer[index] // of those; nil while nobody asks

	// Epochs count the calls of age. A row remembers in which it was appended
	// last.
	epoch atomic.Uint32
	ended []tableEpoch // for the goroutine that calls age
}

// tableEpoch is what was known when an epoch ended.
type tableEpoch struct {
	number  uint32
	at      time.Time
	segment int // the newest one
}

type tablePage struct {
	// seen has the epochs, with the bit resting of series that are not active; 0
	// of an empty row. It leaves 0, and that bit changes, under mu only.
	seen [rowsPerPage]atomic.Uint32

	mu       sync.Mutex // guards the fields below
	gone     bool       // from the table
	filled   uint8
	owner    palette[*job] // whose the series is, since it became active last
	metadata palette[unique.Handle[metadata.Metadata]]
	kept     *[rowsPerPage]packed.Labels // those that the keeper has not, or not any more
}

// resting is the bit of a series that is not active.
const resting = 1 << 31

func newTable() *table {
	t := &table{pages: map[uint64]*tablePage{}}
	t.epoch.Store(1)
	return t
}

func (t *table) page(number uint64) *tablePage {
	t.mu.RLock()
	p := t.pages[number]
	t.mu.RUnlock()
	return p
}

func (t *table) makePage(number uint64) *tablePage {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pages[number]
	if p == nil {
		p = &tablePage{}
		t.pages[number] = p
	}
	return p
}

// find returns the series of ref.
func (t *table) find(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	p := t.page(uint64(ref) / rowsPerPage)
	if p == nil {
		return logged.Series{}, false
	}
	row := int(uint64(ref) % rowsPerPage)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[row].Load() == 0 {
		return logged.Series{}, false
	}
	return logged.Series{Labels: t.labels(p, ref), Metadata: p.metadata.get(row)}, true
}

// labels are those of a row that is not empty. The caller holds mu of the page,
// so that the keeper cannot forget them between one look and the other.
func (t *table) labels(p *tablePage, ref chunks.HeadSeriesRef) packed.Labels {
	if p.kept != nil {
		if ls := p.kept[uint64(ref)%rowsPerPage]; !ls.IsEmpty() {
			return ls
		}
	}
	if t.keeper == nil {
		return packed.Labels{}
	}
	return t.keeper.LabelsOf(storage.SeriesRef(ref))
}

// keep notes the labels of a series that the keeper is about to forget.
func (t *table) keep(ref chunks.HeadSeriesRef, ls packed.Labels) {
	p := t.page(uint64(ref) / rowsPerPage)
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if row := int(uint64(ref) % rowsPerPage); p.seen[row].Load() != 0 {
		p.keep(row, ls)
	}
}

func (p *tablePage) keep(row int, ls packed.Labels) {
	if p.kept == nil {
		p.kept = &[rowsPerPage]packed.Labels{}
	}
	p.kept[row] = ls
}

// scribe notes series in the table. It is for one goroutine, and does not
// allocate for what is noted already.
type scribe struct {
	table  *table
	job    *job
	keeper labelKeeper // nil is none
	number uint64
	page   *tablePage
}

// active says whether ref is of an active series.
func (s *scribe) active(ref storage.SeriesRef) bool {
	if ref == 0 {
		return false
	}
	number := uint64(ref) / rowsPerPage
	if s.page == nil || s.number != number {
		p := s.table.page(number)
		if p == nil {
			return false
		}
		s.page, s.number = p, number
	}
	seen := s.page.seen[uint64(ref)%rowsPerPage].Load()
	return seen != 0 && seen < resting
}

// note keeps that ref was appended with these labels, which are kept if that has
// any, and, unless it is empty, this metadata.
func (s *scribe) note(ref storage.SeriesRef, ls labels.Labels, kept packed.Labels, m *metadata.Metadata) {
	number, row := uint64(ref)/rowsPerPage, uint64(ref)%rowsPerPage
	for {
		if s.page == nil || s.number != number {
			if s.page = s.table.page(number); s.page == nil {
				s.page = s.table.makePage(number)
			}
			s.number = number
		}
		epoch := s.table.epoch.Load()
		seen := s.page.seen[row].Load()
		if m.IsEmpty() && seen != 0 && (seen == epoch || seen < resting && s.page.seen[row].CompareAndSwap(seen, epoch)) {
			return
		}
		if s.page.note(s, ref, epoch, ls, kept, m) {
			return
		}
		s.page = nil
	}
}

// labelKeeper keeps the labels of series by their refs.
type labelKeeper interface {
	LabelsOf(ref storage.SeriesRef) packed.Labels
}

// kept are the labels that the keeper has of ref, or none.
func (s *scribe) kept(ref storage.SeriesRef) packed.Labels {
	if s.keeper == nil {
		return packed.Labels{}
	}
	return s.keeper.LabelsOf(ref)
}

// note fills a row, and is false when the page is in the table no more.
func (p *tablePage) note(s *scribe, ref storage.SeriesRef, epoch uint32, ls labels.Labels, kept packed.Labels, m *metadata.Metadata) bool {
	row := int(uint64(ref) % rowsPerPage)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	seen := p.seen[row].Swap(epoch)
	if seen == 0 {
		// From now on the keeper tells when it forgets it.
		if s.table.labels(p, chunks.HeadSeriesRef(ref)).IsEmpty() {
			if kept.IsEmpty() {
				kept = packed.Of(ls.WithoutEmpty())
			}
			p.keep(row, kept)
		}
		p.filled++
		s.table.count.Add(1)
	}
	if seen == 0 || seen >= resting {
		p.begin(s, ref)
	}
	s.table.describe(p, chunks.HeadSeriesRef(ref), m)
	return true
}

// describe keeps the metadata of a series, unless it is empty.
func (t *table) describe(p *tablePage, ref chunks.HeadSeriesRef, m *metadata.Metadata) {
	row := int(uint64(ref) % rowsPerPage)
	known := p.metadata.get(row)
	said := func(m *metadata.Metadata) bool {
		return !metadata.IsZeroHandle(known) && known.Value().Equals(*m)
	}
	if m.IsEmpty() || said(m) {
		return
	}
	plausible := logged.Plausible(t.labels(p, ref).Get(model.MetricNameLabel), *m)
	if !said(&plausible) {
		p.metadata.set(row, unique.Make(plausible))
	}
}

// age ends an epoch, in which newest was the newest segment, and forgets the
// series that were not appended for idle and that no segment from needed on has.
func (t *table) age(now time.Time, newest int, idle time.Duration, needed int) {
	t.ended = append(t.ended, tableEpoch{number: t.epoch.Load(), at: now, segment: newest})
	t.epoch.Add(1)
	// What is appended in an epoch may be committed in the next one.
	known, last := 0, uint32(0)
	for i := 0; i+1 < len(t.ended) && t.ended[i+1].segment < needed && now.Sub(t.ended[i].at) >= idle; i++ {
		known, last = i+1, t.ended[i].number
	}
	if last == 0 {
		return
	}
	t.ended = append(t.ended[:0], t.ended[known:]...)
	t.forget(last)
}

// forget empties the rows that were not seen after an epoch.
func (t *table) forget(last uint32) {
	for number, p := range t.snapshot() {
		if p.forget(t, number, last) {
			t.mu.Lock()
			delete(t.pages, number)
			t.mu.Unlock()
		}
	}
}

func (t *table) snapshot() map[uint64]*tablePage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return maps.Clone(t.pages)
}

// forget says whether the page is to be taken out of the table: nothing is
// noted in it any more.
func (p *tablePage) forget(t *table, number uint64, last uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for row := range p.seen {
		seen := p.seen[row].Load()
		if seen == 0 || seen&^resting > last || !p.seen[row].CompareAndSwap(seen, 0) {
			continue
		}
		if seen < resting {
			p.end(t, number, row)
		}
		p.metadata.unset(row)
		if p.kept != nil {
			p.kept[row] = packed.Labels{}
		}
		p.filled--
		t.count.Add(-1)
	}
	p.gone = p.filled == 0
	return p.gone
}
