// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
	"torchbearer/agent/status"
)

// deaf is a follower for several goroutines.
type deaf struct{}

func (deaf) Committing(int)                 {}
func (deaf) Lost(int, string)               {}
func (deaf) Committed(_, _, _ int, _ int64) {}

// limited is a log whose time stands still but for the test.
type limited struct {
	*Log

	t    *testing.T
	reg  *prometheus.Registry
	log  *bytes.Buffer
	now  time.Time
	at   int64 // of the samples
	full atomic.Bool
}

func openLimited(t *testing.T, limits Limits) *limited {
	t.Helper()
	l := &limited{t: t, log: &bytes.Buffer{}, now: time.Unix(1_000_000, 0)}
	l.Log, l.reg = open(t, memoryDir(t), deaf{}, func(o *Options) {
		o.Now = func() time.Time { return l.now }
		o.Logger = log.NewLogfmtLogger(log.NewSyncWriter(l.log))
		o.Full = func(int64) bool { return l.full.Load() }
	})
	t.Cleanup(func() { closeLog(t, l.Log) })
	l.Limit(limits)
	return l
}

func nth(n int) labels.Labels { return labels.FromStrings("__name__", "m", "n", strconv.Itoa(n)) }

// scrape appends series of a job and commits, and returns the refs; those that
// are refused have 0.
func (l *limited) scrape(job string, from, to int, refs ...storage.SeriesRef) []storage.SeriesRef {
	l.t.Helper()
	l.at++
	app := l.AppenderV2(logged.WithJob(l.t.Context(), job))
	got := make([]storage.SeriesRef, to-from)
	for i := range got {
		ref := storage.SeriesRef(0)
		if i < len(refs) {
			ref = refs[i]
		}
		var err error
		got[i], err = app.Append(ref, nth(from+i), 0, l.at, 1, nil, nil, storage.AOptions{})
		if errors.Is(err, logged.ErrRefused) != (got[i] == 0) {
			l.t.Fatalf("ref %d, %v", got[i], err)
		}
	}
	if err := app.Commit(); err != nil {
		l.t.Fatal(err)
	}
	return got
}

func accepted(refs []storage.SeriesRef) (n int) {
	for _, ref := range refs {
		if ref != 0 {
			n++
		}
	}
	return n
}

func (l *limited) wantAccepted(got []storage.SeriesRef, want int) {
	l.t.Helper()
	if n := accepted(got); n != want {
		l.t.Errorf("%d samples were accepted, want %d", n, want)
	}
}

func (l *limited) wantJobs(want ...status.JobSeries) {
	l.t.Helper()
	got := l.Series()
	if diff := cmp.Diff(want, got.Jobs); diff != "" {
		l.t.Errorf("jobs (-want +got):\n%s", diff)
	}
	active, refused := int64(0), int64(0)
	for _, j := range want {
		active, refused = active+j.Active, refused+j.Refused
	}
	if got.Active != active || got.Refused != refused {
		l.t.Errorf("%d are active and %d samples refused, want %d and %d", got.Active, got.Refused, active, refused)
	}
}

// pass lets time go by as Run does.
func (l *limited) pass(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); {
		l.now = l.now.Add(ageEvery)
		l.age(l.now)
	}
}

func TestNewSeriesOverTheLimitAreRefused(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 10, Jobs: map[string]int{"a": 0, "b": 0}})
	refs := l.scrape("a", 0, 7)
	l.wantAccepted(refs, 7)
	l.wantAccepted(l.scrape("b", 10, 20), 3)
	l.wantAccepted(l.scrape("b", 10, 20), 3)
	// Those that are known go on, with their ref and without it.
	l.wantAccepted(l.scrape("a", 0, 7, refs...), 7)
	l.wantAccepted(l.scrape("a", 0, 8), 7)
	l.wantJobs(
		status.JobSeries{Job: "a", Active: 7, Added: 7, Refused: 1},
		status.JobSeries{Job: "b", Active: 3, Added: 3, Refused: 14},
	)
	if s := l.Series(); s.Closed != "there are as many as agent.limits.max_series" || s.Limit != 10 {
		t.Errorf("the status is %+v", s)
	}
	// A higher limit opens at once, a lower one takes nothing away.
	l.Limit(Limits{MaxSeries: 12, Jobs: map[string]int{"a": 0, "b": 0}})
	l.wantAccepted(l.scrape("b", 10, 20), 5)
	l.Limit(Limits{MaxSeries: 1, Jobs: map[string]int{"a": 0, "b": 0}})
	l.wantAccepted(l.scrape("a", 0, 8), 7)
	l.Limit(Limits{})
	l.wantAccepted(l.scrape("a", 0, 8), 8)
	if s := l.Series(); s.Closed != "" || s.Limit != 0 {
		t.Errorf("the status is %+v", s)
	}
	if n := strings.Count(l.log.String(), "new series are refused"); n != 2 {
		t.Errorf("it was logged %d times, want once for each job:\n%s", n, l.log)
	}
}

func TestAJobHasALimitOfItsOwn(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 10, Jobs: map[string]int{"a": 4, "b": 0}})
	l.wantAccepted(l.scrape("a", 0, 7), 4)
	l.wantAccepted(l.scrape("b", 10, 15), 5)
	l.wantAccepted(l.scrape("b", 15, 20), 1)
	l.wantAccepted(l.scrape("a", 0, 7), 4)
	want := `# HELP torchbearer_series Active series: those with a sample within the last minutes, by job; job torchbearer is the agent's own.
# TYPE torchbearer_series gauge
torchbearer_series{job="a"} 4
torchbearer_series{job="b"} 6
# HELP torchbearer_series_limit How many series may be active (agent.limits.max_series), 0 for no limit.
# TYPE torchbearer_series_limit gauge
torchbearer_series_limit 10
# HELP torchbearer_series_refused_total Samples of new series that were not logged because of a limit, by job and reason: job_max_series, max_series, or memory, the process has hardly any left.
# TYPE torchbearer_series_refused_total counter
torchbearer_series_refused_total{job="a",reason="job_max_series"} 6
torchbearer_series_refused_total{job="a",reason="max_series"} 0
torchbearer_series_refused_total{job="a",reason="memory"} 0
torchbearer_series_refused_total{job="b",reason="job_max_series"} 0
torchbearer_series_refused_total{job="b",reason="max_series"} 4
torchbearer_series_refused_total{job="b",reason="memory"} 0
`
	if err := testutil.GatherAndCompare(l.reg, strings.NewReader(want), "torchbearer_series", "torchbearer_series_limit", "torchbearer_series_refused_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(l.reg, "torchbearer_series", "torchbearer_series_limit", "torchbearer_series_refused_total")
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestWithoutMemoryNewSeriesAreRefused(t *testing.T) {
	l := openLimited(t, Limits{})
	l.wantAccepted(l.scrape("a", 0, 5), 5)
	l.full.Store(true)
	l.wantAccepted(l.scrape("a", 0, 8), 5)
	if s := l.Series(); s.Closed != "hardly any memory is left for them" || s.Refused != 3 {
		t.Errorf("the status is %+v", s)
	}
	l.full.Store(false)
	l.wantAccepted(l.scrape("a", 0, 8), 8)
	if !strings.Contains(l.log.String(), "job=a reason=memory samples=3 series_of_job=5 limit_of_job=0 series=5 limit=0 most_new_series=a new_in_last_hour=5") {
		t.Errorf("logged:\n%s", l.log)
	}
}

// TestALargeJobLeavesMemoryToSmallOnes: after a start whoever is scraped first has
// the memory; those with few series must not go without.
func TestALargeJobLeavesMemoryToSmallOnes(t *testing.T) {
	l := openLimited(t, Limits{Jobs: map[string]int{"large": 0, "small": 0, "growing": 0, "limited": 10}})
	l.wantAccepted(l.scrape("large", 0, 3200), 3200)
	l.full.Store(true)
	l.wantAccepted(l.scrape("small", 10_000, 10_090), 90)
	l.wantAccepted(l.scrape("small", 10_000, 10_090), 90)
	if n := accepted(l.scrape("growing", 20_000, 21_000)); n < 100 || n > 110 {
		t.Errorf("of a job that grows %d series were taken, want an eighth of an even share", n)
	}
	l.wantAccepted(l.scrape("limited", 30_000, 30_090), 10)
	l.wantAccepted(l.scrape("large", 0, 3300), 3200)
}

func TestWhatAlwaysPasses(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 2})
	refs := l.scrape("a", 0, 2)
	stale := math.Float64frombits(value.StaleNaN)
	for _, tc := range []struct {
		name, job string
		ref       storage.SeriesRef
		n         int
		v         float64
		family    string
		passes    bool
	}{
		{name: "another sample", job: "a", n: 3, v: 1},
		{name: "one of a report", job: "a", n: 4, v: 1, family: "up\xff", passes: true},
		{name: "a staleness marker", job: "a", ref: refs[0], n: 0, v: stale, passes: true},
		{name: "a staleness marker of a series whose ref is lost", job: "a", n: 1, v: stale, passes: true},
		{name: "a staleness marker of a new series", job: "a", n: 5, v: stale},
		{name: "the agent's own", n: 6, v: 1, passes: true},
	} {
		l.at++
		ctx := t.Context()
		if tc.job != "" {
			ctx = logged.WithJob(ctx, tc.job)
		}
		app := l.AppenderV2(ctx)
		ref, err := app.Append(tc.ref, nth(tc.n), 0, l.at, tc.v, nil, nil, storage.AOptions{MetricFamilyName: tc.family})
		if (ref != 0) != tc.passes || (err == nil) != tc.passes {
			t.Errorf("%s: %d, %v", tc.name, ref, err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	l.wantJobs(
		status.JobSeries{Job: "a", Active: 3, Added: 3, Refused: 2},
		status.JobSeries{Job: ownJob, Active: 1, Added: 1},
	)
}

func TestARollbackCountsNothingAsRefused(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 1})
	app := l.AppenderV2(logged.WithJob(t.Context(), "a"))
	for n := range 3 {
		_, _ = app.Append(0, nth(n), 0, 1, 1, nil, nil, storage.AOptions{})
	}
	if err := app.Rollback(); err != nil {
		t.Fatal(err)
	}
	l.wantJobs(status.JobSeries{Job: "a", Active: 1, Added: 1})
}

func TestASeriesIsActiveWhileItIsScraped(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 10, Jobs: map[string]int{"a": 0, "b": 0}})
	refs := l.scrape("a", 0, 10)
	for range 4 {
		l.pass(time.Minute)
		l.scrape("a", 0, 5, refs...)
	}
	l.wantJobs(status.JobSeries{Job: "a", Active: 10, Added: 10}, status.JobSeries{Job: "b"})
	l.wantAccepted(l.scrape("b", 20, 23), 0)
	l.pass(2 * time.Minute)
	l.wantJobs(status.JobSeries{Job: "a", Active: 5, Added: 10}, status.JobSeries{Job: "b", Refused: 3})
	// Others take the room. Those that come again are new, also with their ref.
	l.wantAccepted(l.scrape("b", 20, 23), 3)
	l.wantAccepted(l.scrape("a", 5, 10, refs[5:]...), 2)
	l.wantJobs(status.JobSeries{Job: "a", Active: 7, Added: 12, Refused: 3}, status.JobSeries{Job: "b", Active: 3, Added: 3, Refused: 3})
	// All end, and what was added is of the last hour.
	l.pass(2 * time.Hour)
	l.wantJobs(status.JobSeries{Job: "a", Refused: 3}, status.JobSeries{Job: "b", Refused: 3})
	if n := l.table.index.Load(); n != nil {
		t.Error("the index is kept though nobody asks it")
	}
	// A job that the config has not any more is forgotten when it has no series.
	l.scrape("b", 20, 21)
	l.Limit(Limits{Jobs: map[string]int{"a": 0}})
	l.pass(time.Minute)
	l.wantJobs(status.JobSeries{Job: "b", Active: 1, Added: 1, Refused: 3}, status.JobSeries{Job: "a", Refused: 3})
	l.pass(10 * time.Minute)
	l.wantJobs(status.JobSeries{Job: "a", Refused: 3})
}

// TestSeriesByRefAlone: of what is known the ref is enough, also for who refuses new series. For the rest labels are asked
// for, before anything is counted.
func TestSeriesByRefAlone(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 2, Idle: time.Minute})
	refs := l.scrape("a", 0, 2)
	by := func(ref storage.SeriesRef, want error) {
		t.Helper()
		l.at++
		app := l.AppenderV2(logged.WithJob(t.Context(), "a"))
		if got, err := app.Append(ref, labels.EmptyLabels(), 0, l.at, 1, nil, nil, storage.AOptions{}); !errors.Is(err, want) || want == nil && got != ref {
			t.Errorf("ref %d: got %d, %v, want %v", ref, got, err, want)
		}
		if err := app.Commit(); err != nil {
			t.Error(err)
		}
	}
	by(refs[0], nil)
	by(refs[1]+100, packed.ErrNeeded)
	for i, ref := range refs {
		kept := l.AppenderV2(t.Context()).(*appender).LabelsOf(ref)
		if s, ok := l.SeriesOf(chunks.HeadSeriesRef(ref)); !ok || !s.Labels.Are(nth(i)) || s.Labels != kept {
			t.Errorf("series %d is %s, and %s in the database", i, s.Labels, kept)
		}
	}
	// It rests: then the limit counts for it, as for a new one.
	l.pass(10 * time.Minute)
	by(refs[0], packed.ErrNeeded)
	l.wantAccepted(l.scrape("a", 0, 2, refs...), 2)
	by(refs[0], nil)
	// The table has forgotten it, and the database has not.
	l.table.forget(math.MaxUint32 &^ resting)
	if _, ok := l.SeriesOf(chunks.HeadSeriesRef(refs[0])); ok {
		t.Fatal("the table has not forgotten it")
	}
	app := l.AppenderV2(t.Context()) // Not of a job: nothing is refused.
	l.at++
	if _, err := app.Append(refs[0], labels.EmptyLabels(), 0, l.at, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if s, ok := l.SeriesOf(chunks.HeadSeriesRef(refs[0])); !ok || !s.Labels.Are(nth(0)) {
		t.Errorf("after that it is %s", s.Labels)
	}
	if err := app.Commit(); err != nil {
		t.Error(err)
	}
}

func TestIndexFollowsTheTable(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 10, Idle: time.Minute})
	l.scrape("a", 0, 5)
	l.scrape("a", 5, 10)
	l.wantAccepted(l.scrape("a", 0, 11), 10) // It makes the index.
	l.pass(30 * time.Second)
	l.scrape("a", 0, 5)
	l.pass(50 * time.Second)
	l.wantAccepted(l.scrape("a", 20, 25), 5)
	l.wantAccepted(l.scrape("a", 20, 25), 5)
	l.wantAccepted(l.scrape("a", 0, 10), 5)
	if n := len(l.table.index.Load().refs); n != 10 {
		t.Errorf("the index has %d series", n)
	}
}

// TestLimitsAreExact: scrapes at the same time overrun no limit, and leave nothing
// of the limit of all unused. Which job is first at that one is open.
func TestLimitsAreExact(t *testing.T) {
	l := openLimited(t, Limits{MaxSeries: 150, Jobs: map[string]int{"j0": 20, "j1": 30, "j2": 0, "j3": 0}})
	var wait sync.WaitGroup
	var taken [4]atomic.Int64
	for g := range 8 {
		wait.Go(func() {
			job := g % 4
			for round := range 3 {
				app := l.AppenderV2(logged.WithJob(t.Context(), fmt.Sprintf("j%d", job)))
				for i := range 100 {
					n := 10_000*job + 100*(g/4) + i
					ref, err := app.Append(0, nth(n), 0, int64(round), 1, nil, nil, storage.AOptions{})
					if err == nil && round == 0 {
						taken[job].Add(1)
					}
					if (ref != 0) != (err == nil) {
						t.Errorf("ref %d, %v", ref, err)
					}
				}
				if err := app.Commit(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s := l.Series()
	if s.Active != 150 {
		t.Errorf("%d series are active", s.Active)
	}
	for _, j := range s.Jobs {
		job := int(j.Job[1] - '0')
		if j.Active != taken[job].Load() || j.Limit > 0 && j.Active > j.Limit {
			t.Errorf("%+v, %d were taken", j, taken[job].Load())
		}
		if j.Refused != 3*(200-j.Active) {
			t.Errorf("%+v: want %d refused", j, 3*(200-j.Active))
		}
	}
}

func TestTopMetrics(t *testing.T) {
	l := openLimited(t, Limits{})
	app := l.AppenderV2(logged.WithJob(t.Context(), "a"))
	for m := range 150 {
		for n := range 150 - m {
			ls := labels.FromStrings("__name__", fmt.Sprintf("m%03d", m), "n", strconv.Itoa(n))
			if _, err := app.Append(0, ls, 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	top := l.TopMetrics()
	if len(top) != topMetrics || top[0] != (status.MetricCount{Metric: "m000", Job: "a", Series: 150}) || top[99] != (status.MetricCount{Metric: "m099", Job: "a", Series: 51}) {
		t.Errorf("%d: %+v", len(top), top)
	}
	l.scrape("b", 0, 200)
	if again := l.TopMetrics(); again[0].Job != "a" {
		t.Error("it is counted again at once")
	}
	l.now = l.now.Add(topEvery)
	if again := l.TopMetrics(); again[0] != (status.MetricCount{Metric: "m", Job: "b", Series: 200}) {
		t.Errorf("%+v", again[0])
	}
}
