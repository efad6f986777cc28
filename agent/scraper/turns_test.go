// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/logged"
	"torchbearer/agent/upstream/scrape"
)

func someTarget(n string) *scrape.Target {
	return scrape.NewTarget(labels.FromStrings("instance", n), &promconfig.ScrapeConfig{}, nil, nil)
}

const turnsBudget = 4 << 20

func turnsOf() *turns {
	return newTurns(func() int64 { return turnsPart * turnsBudget })
}

// TestLargeTargetsTakeTurns: with room for four, ten scrapes are never more than
// four at once, all come to an end, and those that wait come in their order.
func TestLargeTargetsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := turnsOf()
		running, order := atomic.Int32{}, make(chan int, 10)
		for i := range 10 {
			target := someTarget("large")
			go func() {
				bytes := ts.take(target)
				order <- i
				if n := running.Add(1); n > 4 {
					t.Errorf("%d at once", n)
				}
				time.Sleep(time.Second)
				running.Add(-1)
				ts.give(target, bytes, unknownBytes)
				runtime.KeepAlive(target)
			}()
			synctest.Wait()
		}
		for i := range 10 {
			if got := <-order; got/4 != i/4 { // Four begin in the same moment.
				t.Errorf("scrape %d was %dth", got, i)
			}
		}
		time.Sleep(10 * time.Second)
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if ts.used != 0 || len(ts.waiting) != 0 {
			t.Errorf("%d bytes are in use, %d wait", ts.used, len(ts.waiting))
		}
	})
}

// TestSmallTargetsWaitForNobody: they are known by their last scrape. One that is
// larger than the budget goes alone.
func TestSmallTargetsWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := turnsOf()
		small, huge := someTarget("small"), someTarget("huge")
		ts.give(small, ts.take(small), smallBytes-1)
		ts.give(huge, ts.take(huge), 10*turnsBudget)
		held := ts.take(huge)
		if held != 10*turnsBudget {
			t.Fatalf("the huge one takes %d", held)
		}
		if bytes := ts.take(small); bytes != 0 {
			t.Errorf("the small one takes %d", bytes)
		}
		came := atomic.Bool{}
		other := someTarget("other")
		go func() {
			ts.take(other)
			came.Store(true)
		}()
		synctest.Wait()
		if came.Load() {
			t.Error("another one begins beside it")
		}
		ts.give(huge, held, 10*turnsBudget)
		synctest.Wait()
		if !came.Load() {
			t.Error("nobody begins after it")
		}
		runtime.KeepAlive(small)
	})
}

func TestTurnsForgetTargetsThatAreGone(t *testing.T) {
	ts := turnsOf()
	kept := someTarget("kept")
	ts.give(kept, ts.take(kept), 1)
	for range 2000 {
		target := someTarget("gone")
		ts.give(target, ts.take(target), 1)
		if len(ts.sizes)%50 == 0 {
			runtime.GC()
		}
	}
	if len(ts.sizes) > 500 {
		t.Errorf("%d targets are known", len(ts.sizes))
	}
	if ts.take(kept) != 0 {
		t.Error("the one that is there is forgotten")
	}
	runtime.KeepAlive(kept)
}

func TestWithoutALimitNobodyWaits(t *testing.T) {
	ts := newTurns(nil)
	for range 100 {
		if ts.take(someTarget("large")) != 0 {
			t.Fatal("a turn is taken")
		}
	}
	ts.give(someTarget("large"), 0, 1<<40)
	if len(ts.sizes) != 0 {
		t.Error("targets are remembered")
	}
}

// full is a log that refuses all.
type full struct{ discard }

func (full) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, logged.ErrRefused
}

func (full) Commit() error { return nil }

// TestRefusals: the library gets an error that fails no scrape, and its line
// about it is left out; others are not.
func TestRefusals(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry())
	text := &bytes.Buffer{}
	logger := g.hush(slog.New(slog.NewTextHandler(text, nil))).With("target", "x").WithGroup("g")
	logger.Warn(outOfBoundsLine, "num_dropped", 1)
	if !strings.Contains(text.String(), "target=x g.num_dropped=1") {
		t.Errorf("without a refusal the line is hushed: %s", text)
	}
	app := g.AppenderV2(contextOf("app"))
	app.(*guardedAppender).AppenderV2 = full{}
	ref, err := app.Append(0, labels.FromStrings("__name__", "a"), 0, 1, 1, nil, nil, storage.AOptions{})
	if ref != 0 || !errors.Is(err, storage.ErrOutOfBounds) {
		t.Errorf("%d, %v", ref, err)
	}
	text.Reset()
	logger.Warn(outOfBoundsLine, "num_dropped", 1)
	logger.Warn("another")
	if got := text.String(); strings.Contains(got, "num_dropped") || !strings.Contains(got, "another") {
		t.Errorf("logged: %s", got)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}
