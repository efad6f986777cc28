// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"sync"
	"weak"

	"torchbearer/agent/upstream/scrape"
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
	waiting []*waiter // first come first served
	sizes   map[weak.Pointer[scrape.Target]]int64
	sweepAt int // entries of sizes
}

// waiter is a scrape that has not begun.
type waiter struct {
	bytes int64
	begin chan struct{} // closed when it may
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
	if target == nil || t.memory() == 0 {
		return 0
	}
	t.mu.Lock()
	bytes, known := t.sizes[weak.Make(target)]
	if !known {
		bytes = unknownBytes
	}
	if bytes < smallBytes {
		t.mu.Unlock()
		return 0
	}
	w := &waiter{bytes, make(chan struct{})}
	t.waiting = append(t.waiting, w)
	t.wake()
	t.mu.Unlock()
	<-w.begin
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

// back gives back what was taken for an answer that nobody has measured.
func (t *turns) back(bytes int64) {
	if bytes > 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.used -= bytes
		t.wake()
	}
}

// wake has those begin that there is room for; one has room when it is alone.
func (t *turns) wake() {
	for budget := t.memory() / turnsPart; len(t.waiting) > 0; t.waiting = t.waiting[1:] {
		w := t.waiting[0]
		if t.used > 0 && t.used+w.bytes > budget {
			return
		}
		t.used += w.bytes
		close(w.begin)
	}
}
