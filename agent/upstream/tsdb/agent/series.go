// Copyright The Prometheus Authors
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
// http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

package agent

import (
	"iter"
	"sync"
	"unique"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

// memSeries is a chunkless version of tsdb.memSeries. It fills the memory that
// the allocator has for it, so its lock is that of stripeSeries.
type memSeries struct {
	id   seriesID
	lset packed.Labels

	// Last recorded timestamp. Used by Storage.gc to determine if a series is
	// stale.
	lastTs int64

	meta unique.Handle[metadata.Metadata]
}

func newMemSeries(ref chunks.HeadSeriesRef, lset packed.Labels, lastTs int64) *memSeries {
	return &memSeries{id: seriesID(ref), lset: lset, lastTs: lastTs}
}

func (m *memSeries) Ref() chunks.HeadSeriesRef {
	return m.id.ref()
}

func (m *memSeries) Labels() labels.Labels {
	return m.lset.Labels()
}

func (m *memSeries) LastSampleTimestamp() int64 {
	return m.lastTs
}

// Metadata returns the metadata handle associated with the series, or the zero handle if none is set.
// It is for who has its lock.
func (m *memSeries) Metadata() unique.Handle[metadata.Metadata] {
	return m.meta
}

// stripeSeries locks modulo ranges of IDs and hashes to reduce lock
// contention. The locks are padded to not be on the same cache line.
// Filling the padded space with the maps was profiled to be slower -
// likely due to the additional pointer dereferences.
type stripeSeries struct {
	size      int
	refs      *seriesRefs
	hashes    []seriesHashmap
	exemplars []map[chunks.HeadSeriesRef]*exemplar.Exemplar
	locks     []stripeLock

	seriesLocks [seriesLocks]stripeLock // what lock takes
	gcMut       sync.Mutex
}

type stripeLock struct {
	sync.RWMutex
	// Padding to avoid multiple locks being on the same cache line.
	_ [40]byte
}

// seriesLocks are shared by the series, each by those whose refs are in the same
// pages of seriesRefs. A scrape's are.
const seriesLocks = 128

// lock locks what may change of a series, and returns what to unlock. Only one
// may be locked at once.
func (s *stripeSeries) lock(series *memSeries) *stripeLock {
	l := &s.seriesLocks[series.Ref()/refsPerPage%seriesLocks]
	l.Lock()
	return l
}

// updateTimestamp locks the series and attempts to update its lastTs.
// fails if newTs < lastTs.
func (s *stripeSeries) updateTimestamp(series *memSeries, newTs int64) bool {
	lock := s.lock(series)
	defer lock.Unlock()
	if newTs >= series.lastTs {
		series.lastTs = newTs
		return true
	}
	return false
}

func newStripeSeries(stripeSize int) *stripeSeries {
	s := &stripeSeries{
		size:      stripeSize,
		refs:      newSeriesRefs(),
		hashes:    make([]seriesHashmap, stripeSize),
		exemplars: make([]map[chunks.HeadSeriesRef]*exemplar.Exemplar, stripeSize),
		locks:     make([]stripeLock, stripeSize),
	}
	return s
}

// GC garbage collects old series that have not received a sample after mint
// and will fully delete them, after forgetting is told if that is not nil.
func (s *stripeSeries) GC(mint int64, retainSeries bool, forgetting func(chunks.HeadSeriesRef, packed.Labels)) map[chunks.HeadSeriesRef]deletedSeries {
	// gcMut serializes GC calls. Within a single GC pass, the check function
	// holds hashLock and then acquires refLock — callers must never hold both
	// simultaneously, which SetUnlessAlreadySet satisfies.
	s.gcMut.Lock()
	defer s.gcMut.Unlock()

	// Labels and metadata of deleted series are used by agent.Checkpoint.
	deleted := map[chunks.HeadSeriesRef]deletedSeries{}

	// For one series, truncate old chunks and check if any chunks left. If not, mark as deleted and collect the ID.
	check := func(hashLock int, series *memSeries) {
		lock, ref := s.lock(series), series.Ref()

		// Any series that has received a write since mint is still alive.
		if series.lastTs >= mint {
			lock.Unlock()
			return
		}

		// The series is stale. We need to obtain a second lock for the
		// ref if it's different than the hash lock.
		refLock := int(s.refLock(ref))
		if hashLock != refLock {
			s.locks[refLock].Lock()
		}

		if forgetting != nil {
			forgetting(ref, series.lset)
		}
		if retainSeries {
			deleted[ref] = deletedSeries{
				ref:    ref,
				labels: series.lset.Labels(),
				meta:   series.meta,
			}
		} else {
			deleted[ref] = deletedSeries{ref: ref}
		}

		s.refs.delete(ref)
		s.hashes[hashLock].Delete(series)

		// Since the series is gone, we'll also delete
		// the latest stored exemplar.
		delete(s.exemplars[refLock], ref)

		if hashLock != refLock {
			s.locks[refLock].Unlock()
		}
		lock.Unlock()
	}

	for hashLock := 0; hashLock < s.size; hashLock++ {
		s.locks[hashLock].Lock()

		for _, series := range s.hashes[hashLock].all() {
			check(hashLock, series)
		}

		s.locks[hashLock].Unlock()
	}

	return deleted
}

func (s *stripeSeries) GetByID(id chunks.HeadSeriesRef) *memSeries {
	return s.refs.get(id)
}

func (s *stripeSeries) GetByHash(hash uint64, lset labels.Labels) *memSeries {
	hashLock := s.hashLock(hash)

	s.locks[hashLock].RLock()
	defer s.locks[hashLock].RUnlock()
	return s.hashes[hashLock].GetPlain(hash, lset)
}

// SetUnlessAlreadySet inserts series for the given hash if no series with the
// same label set already exists. It returns the canonical series and whether
// it was newly inserted.
//
// Insertion order is refs-before-hashes. GC only discovers series via hashes,
// so anything it finds is guaranteed to already be present in refs. We never
// hold hashLock and refLock simultaneously, preserving the no-deadlock
// invariant that GC relies on (it holds hashLock while acquiring refLock).
func (s *stripeSeries) SetUnlessAlreadySet(hash uint64, series *memSeries) (*memSeries, bool) {
	hashLock := s.hashLock(hash)

	// Fast path: series already exists.
	s.locks[hashLock].Lock()
	if prev := s.hashes[hashLock].Get(hash, series.lset); prev != nil {
		s.locks[hashLock].Unlock()
		return prev, false
	}
	s.locks[hashLock].Unlock()

	// Insert into refs first. GC discovers series through hashes, so a series
	// that is only in refs is invisible to GC and will not be removed.
	series.id = series.id.with(hash)
	s.refs.set(series)

	// Re-acquire hashLock to insert into hashes. A concurrent goroutine may
	// have inserted the same label set while we were inserting into refs, so
	// check again before committing.
	s.locks[hashLock].Lock()
	if prev := s.hashes[hashLock].Get(hash, series.lset); prev != nil {
		s.locks[hashLock].Unlock()
		// We lost the race: clean up the ref we pre-inserted.
		s.refs.delete(series.Ref())
		return prev, false
	}
	s.hashes[hashLock].Set(series)
	s.locks[hashLock].Unlock()

	return series, true
}

func (s *stripeSeries) GetLatestExemplar(ref chunks.HeadSeriesRef) *exemplar.Exemplar {
	i := s.refLock(ref)

	s.locks[i].RLock()
	exemplar := s.exemplars[i][ref]
	s.locks[i].RUnlock()

	return exemplar
}

func (s *stripeSeries) SetLatestExemplar(ref chunks.HeadSeriesRef, latest *exemplar.Exemplar) {
	i := s.refLock(ref)

	// Make sure that's a valid series id and record its latest exemplar
	s.locks[i].Lock()
	if s.refs.get(ref) != nil {
		if s.exemplars[i] == nil {
			s.exemplars[i] = map[chunks.HeadSeriesRef]*exemplar.Exemplar{}
		}
		s.exemplars[i][ref] = latest
	}
	s.locks[i].Unlock()
}

func (s *stripeSeries) hashLock(hash uint64) uint64 {
	return hash & uint64(s.size-1)
}

func (s *stripeSeries) refLock(ref chunks.HeadSeriesRef) uint64 {
	return uint64(ref) & uint64(s.size-1)
}

var (
	_ ActiveSeries             = (*seriesSnapshot)(nil)
	_ ActiveSeriesWithMetadata = (*seriesSnapshot)(nil)
)

// seriesSnapshot is a point-in-time copy of a memSeries fields.
// It is used to avoid holding series locks during checkpoint I/O.
type seriesSnapshot struct {
	ref    chunks.HeadSeriesRef
	lset   packed.Labels
	unpack *labels.ScratchBuilder
	lastTs int64
	meta   unique.Handle[metadata.Metadata]
}

func (s *seriesSnapshot) Ref() chunks.HeadSeriesRef {
	return s.ref
}

func (s *seriesSnapshot) Labels() labels.Labels {
	return s.lset.With(s.unpack)
}

func (s *seriesSnapshot) LastSampleTimestamp() int64 {
	return s.lastTs
}

func (s *seriesSnapshot) Metadata() unique.Handle[metadata.Metadata] {
	return s.meta
}

func (s *stripeSeries) allSeries() iter.Seq[ActiveSeries] {
	return func(yield func(ActiveSeries) bool) {
		var unpack labels.ScratchBuilder
		// No lock is held meanwhile, so that slow consumers (e.g.
		// checkpoint disk I/O) do not block appends.
		for series := range s.refs.all() {
			lock := s.lock(series)
			snapshot := seriesSnapshot{
				ref:    series.Ref(),
				lset:   series.lset,
				unpack: &unpack,
				lastTs: series.lastTs,
				meta:   series.meta,
			}
			lock.Unlock()

			if !yield(&snapshot) {
				return
			}
		}
	}
}

// deletedSeriesIter returns an iterator over deleted series from the given map.
// Only series whose lastSegment is greater than last are emitted, matching the
// filtering behaviour of [wlog.Checkpoint] keep function.
func deletedSeriesIter(m map[chunks.HeadSeriesRef]deletedRefMeta, last int) iter.Seq[DeletedSeries] {
	return func(yield func(DeletedSeries) bool) {
		for ref, meta := range m {
			if meta.lastSegment > last {
				if !yield(deletedSeries{ref: ref, labels: meta.labels, meta: meta.meta}) {
					return
				}
			}
		}
	}
}

var (
	_ DeletedSeries             = deletedSeries{}
	_ DeletedSeriesWithMetadata = deletedSeries{}
)

type deletedSeries struct {
	ref    chunks.HeadSeriesRef
	labels labels.Labels
	meta   unique.Handle[metadata.Metadata]
}

func (series deletedSeries) Ref() chunks.HeadSeriesRef {
	return series.ref
}

func (series deletedSeries) Labels() labels.Labels {
	return series.labels
}

func (series deletedSeries) Metadata() unique.Handle[metadata.Metadata] {
	return series.meta
}
