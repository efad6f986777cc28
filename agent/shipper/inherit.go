// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"sync"
	"time"

	"torchbearer/agent/logged"
)

const (
	// inheritRecords are counted before a pause of inheritPause: to ship comes
	// first.
	inheritRecords = 500
	inheritPause   = 5 * time.Millisecond
)

// inherit counts beside all else what the log had when the destination began,
// until that is done or stop is called, which waits for the end of it. The
// destination counts what it reads itself, and what the budget takes: nothing is
// claimed for this.
func (d *destination) inherit(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var counting sync.WaitGroup
	counting.Go(func() {
		for {
			at, done := d.ledger.inheritFrom()
			if done || !d.inheritPart(ctx, at) {
				return
			}
		}
	})
	return func() {
		cancel()
		counting.Wait()
	}
}

// inheritPart counts from a position on until all is counted, or the
// destination is ahead of it. It is false when ctx is done.
func (d *destination) inheritPart(ctx context.Context, at logged.Position) bool {
	reader := d.log.Skim(at)
	defer func() { _ = reader.Close() }() // It was only read.
	b := &logged.Batch{}
	for n := 1; ; n++ {
		pause := time.Duration(0)
		if !reader.Next(b) {
			if d.ledger.inheritEnd(reader.Position()) {
				return true
			}
			pause = rereadAfter
		} else if !d.ledger.inherit(b) {
			return true
		}
		if n%inheritRecords == 0 {
			pause = max(pause, inheritPause)
		}
		if pause > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(pause):
			}
		}
	}
}

// inheritFrom is where to go on to count what is inherited.
func (l *ledger) inheritFrom() (at logged.Position, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counted, !l.counted.Before(l.from)
}

// inherit counts a record, and is false when there is nothing more to count, or
// it was counted.
func (l *ledger) inherit(b *logged.Batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.counted.Before(b.End) {
		return false
	}
	l.count(b)
	return l.counted.Before(l.from)
}

// inheritEnd says whether all is counted when the log has no more behind a
// position.
func (l *ledger) inheritEnd(at logged.Position) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !at.Before(l.from) {
		l.counted = l.from
	}
	return !l.counted.Before(l.from)
}
