// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/logged"
)

// What is said of the budget, minute after minute at a constant load, is right
// within a tenth, once there was a checkpoint.
func TestForecastOfTheBudgetComesTrue(t *testing.T) {
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, dir, &follower{}, func(o *Options) { o.MaxBytes, o.SegmentSize = 12<<20, 128<<10 })
		defer closeLog(t, l)
		defer running(t, l)()
		s := slow(t, l, logged.Position{})
		if left, known := l.Budget(); known {
			t.Errorf("before anything was logged the budget lasts for %s", left)
		}
		ends := map[time.Time]time.Time{} // what was said, by when
		for second := int64(1); s.lost() == 0; second++ {
			time.Sleep(time.Second)
			writeNoise(t, l, 1000*second, 300)
			if left, known := l.Budget(); known && second%60 == 0 && second > 60 {
				ends[time.Now()] = time.Now().Add(left)
			}
			if second > 4*3600 {
				t.Fatal("the budget lasts for ever")
			}
		}
		checked := 0
		for at, said := range ends {
			if left := time.Since(at); left > 5*time.Minute {
				checked++
				if off := time.Since(said).Abs(); off > left/10 {
					t.Errorf("%s before the end it was said to be in %s", left, said.Sub(at))
				}
			}
		}
		if checked < 10 {
			t.Errorf("only %d forecasts in %d minutes", checked, len(ends))
		}
	})
}

// writeNoise commits a scrape of which compression makes little less, so that a
// segment is more than a page.
func writeNoise(t *testing.T, l *Log, at int64, series int) {
	t.Helper()
	app := l.AppenderV2(t.Context())
	for i := range series {
		if _, err := app.Append(0, labels.FromStrings("__name__", "s"+strconv.Itoa(i)), 0, at, rand.Float64(), nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}
