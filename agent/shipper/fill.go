// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"io"
	"time"

	"torchbearer/agent/logged"
)

// next returns the next record, or nil when there is none for now. The caller
// holds mu.
func (d *destination) next() *logged.Batch {
	if b := d.ahead; b != nil {
		d.ahead = nil
		return b
	}
	if s := d.skip; s != nil {
		_ = d.reader.Close() // It was only read.
		d.reader, d.skip, d.gap = s.reader, nil, true
		if s.ahead != nil {
			return s.ahead
		}
	}
	b := d.spare
	if b == nil {
		b = &logged.Batch{}
	}
	d.spare = nil
	if !d.reader.Next(b) {
		d.spare = b
		return nil
	}
	if d.plan == nil { // Else it may be read again.
		d.ledger.saw(b)
	}
	return b
}

// take puts a record into the window. The caller holds mu.
func (d *destination) take(b *logged.Batch, set *settings) {
	d.window.add(b, set, d.cache, d.reader.Series)
	b.Reset()
	d.spare = b
}

// fill reads the next window: as many records as its requests take, or what came
// within the batch deadline. It says whether the window is full, and how long it
// was waited for, 0 if the log had all of it at once. io.EOF is that all is shipped
// and the destination is closing.
func (d *destination) fill(ctx context.Context) (full bool, waited time.Duration, err error) {
	set := d.set.Load()
	d.open(set)
	var settled <-chan time.Time
	// From when the window is there, not from its first record, as Prometheus does
	// it: what comes after a while without anything need not wait as long.
	deadline := time.NewTimer(set.batchDeadline)
	defer deadline.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	due := false // the deadline has passed; what has come since, which did not wake, goes too
	for {
		// Whatever comes from here on begins a window, and wakes. One that has
		// begun has time until it is full, or its deadline.
		d.wanted.Store(1)
		now, quiet := d.intake.quiet()
		full, points := d.read(set)
		if full || due {
			return full, waited, nil
		}
		select {
		case <-d.closing:
			// Once more: the last records may have come after the look above.
			if full, points = d.read(set); points == 0 && !full {
				d.advance()
				return false, waited, io.EOF
			}
			return full, waited, nil
		default:
		}
		if points == 0 {
			if !d.advance() && settled == nil {
				settled = time.After(syncEvery)
			}
			d.open(set)
			if quiet && d.intake.still(now) {
				d.ledger.all(now.supplied, d.atEnd)
			}
		} else {
			d.wanted.Store(int64(d.window.room()))
		}
		from := time.Now()
		select {
		case <-ctx.Done():
			return false, waited, ctx.Err()
		case <-deadline.C:
			if due = points > 0; !due {
				deadline.Reset(set.batchDeadline)
			}
		case <-d.wake:
		case <-look.C:
		case <-settled:
			settled = nil
		case <-d.closing:
		case <-set.replaced:
			if set = d.set.Load(); points > 0 {
				d.mu.Lock()
				d.window.resolve(set, d.cache.resolver)
				d.mu.Unlock()
			}
		}
		waited += max(time.Since(from), 1)
	}
}

// atEnd says whether nothing of the log is behind what was sent.
func (d *destination) atEnd() bool { return !d.sentUntil().Before(d.log.End()) }

// open begins an empty window.
func (d *destination) open(set *settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cache.sweep(d.window.points)
	d.window.reset(d.position(), d.shards.next(set), set.perRequest)
	d.window.requests = d.shards.requests(set)
	d.filling = true
}

// position is where the next window begins. The caller holds mu.
func (d *destination) position() logged.Position {
	switch {
	case d.ahead != nil:
		return d.ahead.Begin
	case d.skip != nil:
		return d.skip.position()
	}
	return d.reader.Position()
}

// read takes into the window what the log has, and says whether that is all
// that the window is to have.
func (d *destination) read(set *settings) (full bool, points int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.window
	if !d.filling {
		return true, w.points // giveUp has ended it.
	}
	defer func() {
		if w.points > 0 {
			d.ledger.begins(w.oldest)
		}
	}()
	for {
		b := d.next()
		if b == nil {
			if w.points == 0 {
				w.end = d.position()
			}
			return false, w.points
		}
		other := b.Generation != d.cache.generation
		if w.points > 0 && (other || d.gap || b.Points() > 0 && w.full(b.Points())) {
			d.ahead = b
			return true, w.points
		}
		if other || d.gap {
			d.cache.enter(b.Generation)
			d.gap, w.begin = false, b.Begin
		}
		d.take(b, set)
	}
}
