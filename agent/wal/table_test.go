// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
)

func named(ref storage.SeriesRef) labels.Labels {
	return labels.FromStrings("__name__", "s"+strconv.FormatUint(uint64(ref), 10))
}

func TestTableKeepsLabelsAndTheLastMetadata(t *testing.T) {
	l, _ := open(t, t.TempDir(), &follower{})
	defer closeLog(t, l)
	up := labels.FromStrings("__name__", "up", "empty", "")
	counter, gauge := metadata.Metadata{Type: model.MetricTypeCounter, Help: "h"}, metadata.Metadata{Type: model.MetricTypeGauge}
	ref := storage.SeriesRef(0)
	for at, m := range []metadata.Metadata{{}, counter, {}, gauge, {}} {
		app := l.AppenderV2(t.Context())
		var err error
		if ref, err = app.Append(ref, up, 0, int64(at), 1, nil, nil, storage.AOptions{Metadata: m}); err != nil {
			t.Fatal(err)
		}
		if err := app.Rollback(); err != nil {
			t.Fatal(err)
		}
		series, ok := l.SeriesOf(chunks.HeadSeriesRef(ref))
		if !ok || series.Labels.String() != `{__name__="up"}` {
			t.Fatalf("%v, %t", series.Labels, ok)
		}
		want := []metadata.Metadata{{}, counter, counter, gauge, gauge}[at]
		if zero := metadata.IsZeroHandle(series.Metadata); zero != want.IsEmpty() || !zero && series.Metadata.Value() != want {
			t.Errorf("at %d the metadata is %v, want %v", at, series.Metadata, want)
		}
	}
	if _, ok := l.SeriesOf(12345); ok {
		t.Error("it knows a series that never was")
	}
}

// TestTableKeepsWhatTheLibraryForgets: it does so long before all of it is sent.
func TestTableKeepsWhatTheLibraryForgets(t *testing.T) {
	l, _ := open(t, t.TempDir(), &follower{}, busy)
	defer closeLog(t, l)
	const n = 100
	refs := make([]storage.SeriesRef, n)
	app := l.AppenderV2(t.Context())
	for i := range refs {
		var err error
		if refs[i], err = app.Append(0, named(storage.SeriesRef(i)), 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	check := func() {
		for i, ref := range refs {
			if s, ok := l.SeriesOf(chunks.HeadSeriesRef(ref)); !ok || !s.Labels.Are(named(storage.SeriesRef(i))) {
				t.Fatalf("series %d is %s, %t", i, s.Labels, ok)
			}
		}
	}
	deadline := time.Now().Add(time.Minute)
	for known := n; known > 0; {
		if check(); time.Now().After(deadline) {
			t.Fatalf("%d series are not forgotten", known)
		}
		known = 0
		for _, ref := range refs {
			if !l.db.LabelsOf(ref).IsEmpty() {
				known++
			}
		}
	}
	check()
	if top := l.TopMetrics(); len(top) != n || top[0].Metric == "" {
		t.Errorf("the metrics with the most series are %v", top)
	}
}

// TestTablePageIsSmall: there is one for some series of the log, which are mostly of one job and a few metrics.
func TestTablePageIsSmall(t *testing.T) {
	const n = 1000
	tables := make([]*table, n)
	j, meta := &job{}, make([]metadata.Metadata, rowsPerPage)
	for i := range meta {
		meta[i] = metadata.Metadata{Type: model.MetricTypeGauge, Help: strconv.Itoa(i / 8)}
	}
	kept := packed.Of(named(1))
	keeper := keeperFunc(func(storage.SeriesRef) packed.Labels { return kept })
	var before, after runtime.MemStats
	runtime.GC() // Of what tests before left, finalizers keep some until the second time.
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range tables {
		tables[i] = newTable()
		tables[i].keeper = keeper
		s := scribe{table: tables[i], job: j}
		for row := range rowsPerPage {
			s.note(storage.SeriesRef(row), labels.EmptyLabels(), kept, &meta[row])
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// A table takes some 500 bytes itself.
	if size := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n - 512; size > 12*rowsPerPage {
		t.Errorf("a page takes %.0f bytes, want 12 for each of %d rows at most", size, rowsPerPage)
	}
	runtime.KeepAlive(tables)
}

type keeperFunc func(storage.SeriesRef) packed.Labels

func (f keeperFunc) LabelsOf(ref storage.SeriesRef) packed.Labels { return f(ref) }

func TestTableForgetsWhatNobodyNeeds(t *testing.T) {
	table := newTable()
	s := scribe{table: table, job: &job{}}
	begun := time.Now()
	s.note(1, named(1), packed.Labels{}, &metadata.Metadata{})
	has := func(ref chunks.HeadSeriesRef) bool { _, ok := table.find(ref); return ok }
	for minute := 1; minute <= 60; minute++ {
		s.note(2, named(2), packed.Labels{}, &metadata.Metadata{})
		needed := minute // All is sent,
		if minute < 30 {
			needed = 1 // but that only later.
		}
		table.age(begun.Add(time.Duration(minute)*time.Minute), minute, 15*time.Minute, needed)
		if want := minute < 30; has(1) != want || !has(2) {
			t.Fatalf("minute %d: the idle one is there: %t; the other: %t", minute, has(1), has(2))
		}
	}
	s.note(1, named(1), packed.Labels{}, &metadata.Metadata{})
	if !has(1) || table.count.Load() != 2 {
		t.Errorf("%d series", table.count.Load())
	}
}

// A day of churn: every minute a tenth of 10,000 series is replaced.
func TestTableAfterADayIsAsAfterAnHour(t *testing.T) {
	const live = 2_000
	table := newTable()
	s := scribe{table: table, job: &job{}}
	rnd := rand.New(rand.NewPCG(1, 2))
	refs := make([]storage.SeriesRef, live)
	next := storage.SeriesRef(0)
	for i := range refs {
		next++
		refs[i] = next
	}
	now := time.Now()
	pages, series := 0, int64(0)
	for minute := 1; minute <= 24*60; minute++ {
		for range live / 10 {
			next++
			refs[rnd.IntN(live)] = next
		}
		for _, ref := range refs {
			s.note(ref, labels.Labels{}, packed.Labels{}, &metadata.Metadata{})
		}
		now = now.Add(time.Minute)
		table.age(now, minute, 15*time.Minute, minute)
		if minute == 60 {
			pages, series = len(table.pages), table.count.Load()
		}
	}
	if n := len(table.pages); n > pages*11/10 || n*rowsPerPage > 8*live {
		t.Errorf("%d pages after a day, %d after an hour", n, pages)
	}
	if n := table.count.Load(); n > series*11/10 || n > 3*live {
		t.Errorf("%d series after a day, %d after an hour", n, series)
	}
	if n := len(table.ended); n > 20 {
		t.Errorf("%d epochs are remembered", n)
	}
}

func TestTableIsNeverWithoutASeriesThatWasJustNoted(t *testing.T) {
	table, begun := newTable(), time.Now()
	var noting sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		noting.Go(func() {
			s := scribe{table: table, job: &job{}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				for ref := storage.SeriesRef(0); ref < 200; ref += 7 {
					s.note(ref, named(ref), packed.Labels{}, &metadata.Metadata{})
					// It cannot have been forgotten already: ten ages have not passed.
					if series, ok := table.find(chunks.HeadSeriesRef(ref)); ok && !series.Labels.Are(named(ref)) {
						t.Errorf("%d is %s", ref, series.Labels)
						return
					}
				}
			}
		})
	}
	for i := range 20_000 {
		table.age(begun.Add(time.Duration(i)*time.Minute), i, time.Minute, i)
	}
	close(stop)
	noting.Wait()
	s := scribe{table: table, job: &job{}}
	for ref := storage.SeriesRef(0); ref < 200; ref += 7 {
		s.note(ref, named(ref), packed.Labels{}, &metadata.Metadata{})
	}
	if n := table.count.Load(); n != 29 {
		t.Errorf("it counts %d series", n)
	}
}

func TestNotingAgainAllocatesNothing(t *testing.T) {
	table := newTable()
	s := scribe{table: table, job: &job{}}
	ls, m := named(1), metadata.Metadata{Type: model.MetricTypeGauge, Help: "h"}
	note := func() {
		for ref := storage.SeriesRef(1); ref < 100; ref++ {
			s.note(ref, ls, packed.Labels{}, &metadata.Metadata{})
			s.note(ref, ls, packed.Labels{}, &m)
		}
	}
	note()
	if n := testing.AllocsPerRun(10, note); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkNote(b *testing.B) {
	table := newTable()
	ls, m := named(1), metadata.Metadata{}
	b.RunParallel(func(pb *testing.PB) {
		s := scribe{table: table, job: &job{}}
		for ref := storage.SeriesRef(0); pb.Next(); ref = (ref + 1) % 30_000 {
			s.note(ref, ls, packed.Labels{}, &m)
		}
	})
}

// TestAPageKnowsWhoseItsSeriesAre although there may be more jobs in its time than
// it has rows.
func TestAPageKnowsWhoseItsSeriesAre(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := &palette[*job]{}
	jobs := make([]*job, 3*rowsPerPage)
	for i := range jobs {
		jobs[i] = &job{name: strconv.Itoa(i)}
	}
	var want [rowsPerPage]*job
	for range 10_000 {
		row, j := random.IntN(rowsPerPage), jobs[random.IntN(len(jobs))]
		p.set(row, j)
		want[row] = j
		for row, j := range want {
			if got := p.get(row); got != j {
				t.Fatalf("row %d is of job %v, want %v", row, got, j)
			}
		}
		if row = random.IntN(4 * rowsPerPage); row < rowsPerPage {
			p.unset(row)
			want[row] = nil
		}
		if len(p.values) > rowsPerPage {
			t.Fatalf("%d jobs are kept for %d rows", len(p.values), rowsPerPage)
		}
	}
}
