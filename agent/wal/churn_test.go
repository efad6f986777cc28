// SPDX-License-Identifier: Apache-2.0

//go:build unix

package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// churning is a log into which a scrape is committed each minute, of whose
// series one in ten is new.
type churning struct {
	t     *testing.T
	log   *Log
	claim *Claim
	refs  []storage.SeriesRef
	names []labels.Labels
	next  int
}

func (c *churning) name() labels.Labels {
	c.next++
	return labels.FromStrings("__name__", "requests_total", "instance", "10.0.0.1:8080", "pod", "checkout-"+strconv.Itoa(c.next))
}

// scrape commits one, and lets go of all before.
func (c *churning) scrape(minute int) {
	c.t.Helper()
	for i := range c.names {
		if (i+minute)%10 == 0 {
			c.names[i], c.refs[i] = c.name(), 0
		}
	}
	app := c.log.AppenderV2(c.t.Context())
	for i, ls := range c.names {
		ref, err := app.Append(c.refs[i], ls, 0, time.Now().UnixMilli(), float64(minute), nil, nil, storage.AOptions{})
		if err != nil {
			c.t.Fatal(err)
		}
		c.refs[i] = ref
	}
	if err := app.Commit(); err != nil {
		c.t.Fatal(err)
	}
	// What lies two minutes back has been shipped.
	if minute%2 == 0 {
		c.claim.Move(c.log.End())
	}
}

// footprint is what a log takes at some time.
type footprint struct {
	series, heap, disk int64
	files              int
}

// or is the greater of each.
func (k footprint) or(o footprint) footprint {
	return footprint{max(k.series, o.series), max(k.heap, o.heap), max(k.disk, o.disk), max(k.files, o.files)}
}

func (c *churning) measured() (k footprint) {
	c.t.Helper()
	var err error
	if k.disk, err = c.log.measure(); err != nil {
		c.t.Fatal(err)
	}
	for _, path := range listing(c.t, c.log.opts.Dir) {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			k.files++
		}
	}
	k.series = c.log.table.count.Load()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	k.heap = int64(m.HeapAlloc)
	return k
}

// TestADayOfChurnCostsWhatItsFirstHoursDo simulates it: the clock goes on when
// all wait.
func TestADayOfChurnCostsWhatItsFirstHoursDo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const series, warm, day, window = 500, 2 * 60, 24 * 60, 15
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, filepath.Join(dir, "data"), &follower{})
		defer closeLog(t, l)
		c := &churning{t: t, log: l, claim: l.Claim(l.Begin(), nil), refs: make([]storage.SeriesRef, series), names: make([]labels.Labels, series)}
		for i := range c.names {
			c.names[i] = c.name()
		}
		stop := running(t, l)
		defer stop()
		var first, last footprint
		for minute := range day {
			c.scrape(minute)
			// Much depends on when tsdb/agent has removed something last.
			switch {
			case minute >= warm-window && minute < warm:
				first = first.or(c.measured())
			case minute >= day-window:
				last = last.or(c.measured())
			}
			time.Sleep(time.Minute)
		}
		text := fmt.Sprintf("after %d minutes %+v, after %d minutes %+v", warm, first, day, last)
		t.Log(text)
		// When something is forgotten depends on when a segment begins; a day without
		// that would be 72,000 series.
		if last.series < series || last.series > series+series/10*60 || last.disk > 2*first.disk ||
			last.files > 2*first.files || last.heap > first.heap*13/10+1<<20 {
			t.Error(text)
		}
	})
}
