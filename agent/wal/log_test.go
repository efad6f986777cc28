// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/logged"
)

// follower remembers what it was told.
type follower struct {
	samples int
	lost    int
	open    int // of commits that have not ended
	newest  int64
}

func (f *follower) Committing(points int) { f.open += points }

func (f *follower) Lost(points int, _ string) {
	f.open -= points
	f.lost += points
}

func (f *follower) Committed(samples, histograms, _ int, newest int64) {
	f.open -= samples + histograms
	f.samples += samples + histograms
	f.newest = newest
}

// unopened returns a log that was not opened, with some options changed.
func unopened(tb testing.TB, dir string, f Follower, change ...func(*Options)) (*Log, *prometheus.Registry) {
	tb.Helper()
	reg := prometheus.NewRegistry()
	opts := Options{
		Dir: dir, Logger: log.NewNopLogger(), Library: promslog.NewNopLogger(), Registry: reg, Follower: f,
		Compression: compression.Snappy, CheckpointFromInMemorySeries: true,
	}
	for _, c := range change {
		c(&opts)
	}
	return New(opts), reg
}

func open(tb testing.TB, dir string, f Follower, change ...func(*Options)) (*Log, *prometheus.Registry) {
	tb.Helper()
	l, reg := unopened(tb, dir, f, change...)
	if err := l.Open(); err != nil {
		tb.Fatal(err)
	}
	return l, reg
}

// memoryDir is a directory in memory, if there is such, for what waits for the
// disk often and proves nothing by that.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "torchbearer-wal-*") //nolint:usetesting // That is on the disk.
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func closeLog(tb testing.TB, l *Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

// running runs the log until the function that it returns is called.
func running(t *testing.T, l *Log) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// busy makes small segments that are truncated all the time.
func busy(o *Options) {
	o.SegmentSize = pageSize
	o.TruncateFrequency = 20 * time.Millisecond
	o.MinTime, o.MaxTime = time.Millisecond, 100*time.Millisecond
}

// write commits a scrape of some series at a time, by the names s<from> on.
func write(t *testing.T, l *Log, at int64, from, series int) error {
	t.Helper()
	app := l.AppenderV2(t.Context())
	for i := range series {
		name := "s" + strconv.Itoa(from+i)
		if _, err := app.Append(0, labels.FromStrings("__name__", name), 0, at, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return app.Commit()
}

func mustWrite(t *testing.T, l *Log, at int64, from, series int) {
	t.Helper()
	if err := write(t, l, at, from, series); err != nil {
		t.Fatal(err)
	}
}

// samples reads all samples from a position on, as name@timestamp.
func samples(t *testing.T, l *Log, at logged.Position) (found []string) {
	t.Helper()
	return samplesUntil(t, l, at, logged.Position{Generation: math.MaxUint64})
}

func samplesUntil(t *testing.T, l *Log, at, to logged.Position) (found []string) {
	t.Helper()
	r := l.Reader(at)
	defer r.Close()
	for b := (logged.Batch{}); r.Next(&b) && b.Begin.Before(to); {
		for _, s := range b.Samples {
			series, ok := r.Series(s.Ref)
			if !ok {
				t.Errorf("generation %d: series %d is not known", b.Generation, s.Ref)
			}
			found = append(found, series.Labels.Get("__name__")+"@"+strconv.FormatInt(s.T, 10))
		}
	}
	return found
}

// wanted is what samples finds of scrapes from time first to last.
func wanted(first, last int64, series int) (all []string) {
	for at := first; at <= last; at++ {
		for i := range series {
			all = append(all, "s"+strconv.Itoa(i)+"@"+strconv.FormatInt(at, 10))
		}
	}
	return all
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// eventually waits until what is wanted has become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came true", what)
		}
	}
}
