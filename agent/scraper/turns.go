// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"sync"
	"weak"

	"github.com/prometheus/prometheus/scrape"
)

const (
	// turnsPart of the process's memory is for what large targets answer.
	turnsPart = 10
	// sampleBytes is about what a sample of an answer takes in memory until it is
	// logged, beside its labels: the buffer is larger than the text, and there is
	// a record of it.
	sampleBytes = 200
	// A target that was not scraped yet may be as large as this.
	unknownBytes = 1 << 20
	// Targets that answer less than this need not wait for anybody.
	smallBytes = 128 << 10
)

// turns has scrapes of large targets wait for one another when memory is small.
// What a target answers is in memory, whole, until it is logged: all answers
// together, when the machine is slow, may be more than all series take. A scrape
// waits before it begins, so that its timeout does not count that.
type turns struct {
	memory func() int64 // of the process; 0 is no limit

	mu      sync.Mutex // guards the fields below
	used    int64
	waiting []chan struct{} // each is closed when it may look again; first come first served
	sizes   map[weak.Pointer[scrape.Target]]int64
	sweepAt int // entries of sizes
}

func newTurns(memory func() int64) *turns {
	if memory == nil {
		memory = func() int64 { return 0 }
	}
	return &turns{memory: memory, sizes: map[weak.Pointer[scrape.Target]]int64{}, sweepAt: 64}
}

// take waits until a scrape of the target may begin, and returns what is to be
// given back when it has ended.
func (t *turns) take(target *scrape.Target) (bytes int64) {
	budget := t.memory() / turnsPart
	if budget == 0 || target == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	bytes, known := t.sizes[weak.Make(target)]
	if !known {
		bytes = unknownBytes
	}
	if bytes < smallBytes {
		return 0
	}
	for first := true; t.used > 0 && t.used+bytes > budget || first && len(t.waiting) > 0; first = false {
		mine := make(chan struct{})
		if first {
			t.waiting = append(t.waiting, mine)
		} else {
			t.waiting = append([]chan struct{}{mine}, t.waiting...)
		}
		t.mu.Unlock()
		<-mine
		t.mu.Lock()
	}
	t.used += bytes
	t.wake()
	return bytes
}

// give ends a scrape whose answer was of such a size.
func (t *turns) give(target *scrape.Target, bytes, size int64) {
	if target == nil || t.memory() == 0 && bytes == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sizes[weak.Make(target)] = size
	if len(t.sizes) >= t.sweepAt {
		for p := range t.sizes {
			if p.Value() == nil {
				delete(t.sizes, p)
			}
		}
		t.sweepAt = 2*len(t.sizes) + 64
	}
	if bytes > 0 {
		t.used -= bytes
		t.wake()
	}
}

// wake has the first that waits look whether it is its turn.
func (t *turns) wake() {
	if len(t.waiting) > 0 {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
	}
}
