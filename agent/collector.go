// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"math"
	"runtime/debug"
	goruntime "runtime/metrics"
	"slices"
	"sync"
	"time"

	"torchbearer/config"
)

const (
	// collectEvery is how far apart collections are that cost next to nothing: one
	// takes some 40 ms of a processor for the heap of 300,000 series.
	collectEvery = 5 * time.Second
	// lookEvery is how often it is looked how much garbage is made.
	lookEvery = 5 * time.Second
	// fewestPercent is as soon as it gets.
	fewestPercent = 5
	// remembered looks count: scrapes and requests come in bursts.
	remembered = 3
	// giveBackEvery is how far apart it is that free memory is given back to the
	// system, which takes a collection. The runtime gives back what is more than a
	// tenth of the heap, but for pages that are used now and then.
	giveBackEvery = time.Minute
	// worthGivingBack is a part of the heap.
	worthGivingBack = 16
)

// collector sets GOGC: to what the config or the environment says, or, where they
// say nothing, so that the heap grows by what is allocated in collectEvery, and by
// the default at most. Once all series are known little is allocated, so that a
// large heap would be up to that default larger than it need be. And it gives back
// what the runtime keeps of memory that is free.
type collector struct {
	read     func() heapState
	set      func(percent int) int
	giveBack func()

	mu      sync.Mutex // guards the fields below
	most    int
	fixed   bool
	percent int
	former  heapState
	looks   int
	gave    time.Time           // back
	rates   [remembered]float64 // of what was allocated, in bytes a second, by look
}

// heapState is what Go's runtime knows of it at a time.
type heapState struct {
	at        time.Time
	live      uint64 // bytes that the last collection left
	allocated uint64 // bytes, since the start
	free      uint64 // bytes that the system has not got back
}

func newCollector() *collector {
	return &collector{read: readHeap, set: debug.SetGCPercent, giveBack: debug.FreeOSMemory}
}

// apply takes what the config says.
func (c *collector) apply(cfg *config.Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.fixed = cfg.Prometheus.Runtime.GoGC, !cfg.GoGCByDefault
	c.percent = c.most
	c.set(c.percent)
	return nil
}

// run looks again and again, until ctx is done.
func (c *collector) run(ctx context.Context) {
	c.mu.Lock()
	c.former = c.read()
	c.mu.Unlock()
	looks := time.NewTicker(lookEvery)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
			if c.look() {
				c.giveBack()
			}
		}
	}
}

// look sets GOGC by what was allocated since the last time, or one of those before
// it if that was more. It says whether it is time to give memory back.
func (c *collector) look() (giveBack bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	passed := now.at.Sub(c.former.at).Seconds()
	if passed <= 0 {
		return false
	}
	c.rates[c.looks%remembered] = float64(now.allocated-c.former.allocated) / passed
	c.looks++
	c.former = now
	if giveBack = now.free > now.live/worthGivingBack && now.at.Sub(c.gave) >= giveBackEvery; giveBack {
		c.gave = now.at
	}
	if c.fixed {
		return giveBack
	}
	grows := 100 * slices.Max(c.rates[:]) * collectEvery.Seconds() / max(float64(now.live), 1)
	percent := int(math.Ceil(min(max(grows, fewestPercent), float64(c.most))))
	// To set it stops the world, for some microseconds.
	if percent != c.percent {
		c.percent = percent
		c.set(percent)
	}
	return giveBack
}

func readHeap() heapState {
	samples := []goruntime.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	goruntime.Read(samples)
	return heapState{time.Now(), samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()}
}
