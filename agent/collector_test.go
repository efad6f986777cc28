// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"torchbearer/config"
)

const testMB = 1 << 20

// collecting runs a collector by a config, beside a process whose heap grows as
// grow says, looked at once a second.
func collecting(t *testing.T, cfg *config.Config, d time.Duration, grow func(second int) (live, allocated uint64)) (percents []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var h heapState
		percent := 0
		c := &collector{
			read: func() heapState { h.at = time.Now(); return h },
			set:  func(p int) int { percent = p; return 0 },

			giveBack: func() { t.Error("memory is given back, and none is free") },
		}
		if err := c.apply(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		time.Sleep(time.Second / 2) // It never looks while this changes.
		for second := range int(d / time.Second) {
			live, allocated := grow(second)
			c.mu.Lock()
			h.live = live
			h.allocated += allocated
			c.mu.Unlock()
			time.Sleep(time.Second)
			c.mu.Lock()
			percents = append(percents, percent)
			c.mu.Unlock()
		}
		stop()
		<-done
	})
	return percents
}

func gcConfig(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	write(t, path, text+"\nglobal: {external_labels: {clustername: c, environment: e}}\nremote_write: [{url: http://127.0.0.1:1}]\n")
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestCollectorFollowsWhatIsAllocated(t *testing.T) {
	t.Setenv("GOGC", "")
	constant := func(live, allocated uint64) func(int) (uint64, uint64) {
		return func(int) (uint64, uint64) { return live, allocated }
	}
	for name, tc := range map[string]struct {
		grow        func(second int) (uint64, uint64)
		least, most int // in the end
	}{
		"a large heap, little garbage":  {constant(100*testMB, 2*testMB), 10, 11},
		"a large heap, hardly any":      {constant(100*testMB, testMB/10), fewestPercent, fewestPercent},
		"a small heap":                  {constant(15*testMB, testMB), 25, 25},
		"much garbage":                  {constant(100*testMB, 50*testMB), 25, 25},
		"nothing was ever collected":    {constant(0, testMB), 25, 25},
		"nothing at all":                {constant(0, 0), fewestPercent, fewestPercent},
		"a start, then little":          {func(s int) (uint64, uint64) { return 100 * testMB, max(testMB/2, uint64(20-min(s, 20))*testMB) }, 5, 6},
		"bursts, once in 15 s":          {func(s int) (uint64, uint64) { return 100 * testMB, uint64(s/5%3/2) * 4 * testMB }, 20, 21},
		"an outage is over a while ago": {func(s int) (uint64, uint64) { return 100 * testMB, 2*testMB + uint64(max(0, 100-s))*testMB }, 10, 11},
		"an outage is just over":        {func(s int) (uint64, uint64) { return 100 * testMB, testMB + uint64(s/594)*50*testMB }, 25, 25},
	} {
		t.Run(name, func(t *testing.T) {
			percents := collecting(t, gcConfig(t, ""), 10*time.Minute, tc.grow)
			if last := percents[len(percents)-1]; last < tc.least || last > tc.most {
				t.Errorf("GOGC is %d in the end, want %d to %d; in the last minute it was %v", last, tc.least, tc.most, percents[len(percents)-60:])
			}
			if percents[0] != 25 {
				t.Errorf("begins with %d", percents[0])
			}
		})
	}
}

// TestCollectorDoesAsItIsTold: what the config or the environment says stays.
func TestCollectorDoesAsItIsTold(t *testing.T) {
	little := func(int) (uint64, uint64) { return 100 * testMB, 1 }
	check := func(cfg *config.Config, want int) {
		t.Helper()
		for _, percent := range collecting(t, cfg, time.Minute, little) {
			if percent != want {
				t.Errorf("GOGC is %d, want %d", percent, want)
			}
		}
	}
	t.Setenv("GOGC", "")
	check(gcConfig(t, "runtime: {gogc: 25}"), 25)
	check(gcConfig(t, "runtime: {gogc: 60}"), 60)
	t.Setenv("GOGC", "40") // Prometheus's package has looked at it already.
	cfg := gcConfig(t, "")
	check(cfg, cfg.Prometheus.Runtime.GoGC)
}

// TestCollectorGivesMemoryBack: when there is some that the system has not got back, and not all the time.
func TestCollectorGivesMemoryBack(t *testing.T) {
	for name, tc := range map[string]struct {
		free  uint64 // each time
		times int    // in ten minutes
	}{
		"much":   {10 * testMB, 10},
		"little": {5 * testMB, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				times := 0
				c := &collector{
					read:     func() heapState { return heapState{at: time.Now(), live: 100 * testMB, free: tc.free} },
					set:      func(int) int { return 0 },
					giveBack: func() { times++ },
				}
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
				defer stop()
				c.run(ctx)
				if times != tc.times {
					t.Errorf("%d times in ten minutes, want %d", times, tc.times)
				}
			})
		})
	}
}

// TestHeapIsRead as Go's runtime knows it.
func TestHeapIsRead(t *testing.T) {
	before := readHeap()
	kept := make([]byte, 10*testMB)
	after := readHeap()
	if after.allocated-before.allocated < uint64(len(kept)) || after.live == 0 || after.at.Before(before.at) {
		t.Errorf("%+v, then %+v", before, after)
	}
}
