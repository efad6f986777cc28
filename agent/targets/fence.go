// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"sync"
	"time"
)

// fence is open while this agent holds the lease and is sure of it. What passes
// it was written while nobody else may have held the lease: a process that was
// frozen or cut off finds it closed, by its own clocks, before anybody has told.
type fence struct {
	now func() time.Time // nil is time.Now

	mu      sync.Mutex // guards the fields below
	open    bool
	until   time.Time
	passing int           // those who have not called done
	passed  chan struct{} // closed when nobody passes any more; nil when nobody waits
}

func (f *fence) time() time.Time {
	if f.now != nil {
		return f.now()
	}
	return time.Now()
}

// extend says that nobody else holds the lease before until.
func (f *fence) extend(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = until
}

// raise opens the fence, for as long as it was or will be extended.
func (f *fence) raise() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = true
}

// left is how long the fence stays open if it is not extended; 0 is closed.
func (f *fence) left() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stillOpen()
}

// stillOpen is left while the caller holds mu.
func (f *fence) stillOpen() time.Duration {
	if !f.open {
		return 0
	}
	now := f.time()
	// The monotonic clock stands still while the machine is suspended, and the
	// wall clock may be set: the one that says less counts.
	return max(0, min(f.until.Sub(now), f.until.Round(0).Sub(now.Round(0))))
}

// pass lets somebody through who calls done when he has, or says no.
func (f *fence) pass() (done func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stillOpen() == 0 {
		return nil, false
	}
	f.passing++
	return f.done, true
}

func (f *fence) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passing--
	if f.passing == 0 && f.passed != nil {
		close(f.passed)
		f.passed = nil
	}
}

// shut closes the fence and waits for those who are passing, until ctx is done.
func (f *fence) shut(ctx context.Context) error {
	f.mu.Lock()
	f.open = false
	if f.passing == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.passed == nil {
		f.passed = make(chan struct{})
	}
	passed := f.passed
	f.mu.Unlock()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return errors.New("a scrape is still being written")
	}
}
