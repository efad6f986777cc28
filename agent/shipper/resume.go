// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"time"

	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// rereadAfter is how long a log that cannot be read for now is left alone.
const rereadAfter = time.Second

// resume cuts and sends the window again that was being sent when the process
// before this one ended.
func (d *destination) resume(ctx context.Context) error {
	if !d.returns {
		return nil
	}
	for !d.prepare(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rereadAfter):
		}
	}
	if d.window.cut() == 0 {
		return nil
	}
	if err := d.ship(ctx); err != nil {
		return err
	}
	d.advance()
	return nil
}

// prepare reads what is to be known before anything is sent, and cuts the window
// if there is one. False is that the log cannot be read for now.
func (d *destination) prepare(ctx context.Context) bool {
	set, sent := d.set.Load(), d.sentUntil()
	d.cache = newSeriesCache()
	reader := d.lookBack(ctx, set, sent)
	d.mu.Lock()
	defer d.mu.Unlock()
	if reader != nil && d.skip == nil && d.reader.Position() == sent {
		d.reader, reader = reader, d.reader
	}
	if reader != nil {
		_ = reader.Close() // It was only read.
	}
	switch {
	case d.plan == nil:
		return true
	case sent.Generation > d.live:
		// The journal is of another log than this one.
		d.plan = nil
		d.save(func(s *state) { s.Sent, s.Window = d.position(), nil })
		return true
	case sent.Before(d.log.Begin()):
		d.abandon(lostBudget)
		return true
	}
	if !d.recut(set, sent) {
		_ = d.reader.Close() // It was only read.
		d.reader, d.ahead = d.log.Read(sent), nil
		d.window.reset(sent, 1, set.perRequest)
		return false
	}
	d.resumed()
	return true
}

// resumed tells the ledger what has no answer of the window that was cut again.
// The caller holds mu.
func (d *destination) resumed() {
	w, has := d.window, d.window.logged
	for i, points := range w.shards {
		w.progress[i].begun = w.plan.Done[i]
		has -= standing(points[:min(w.plan.Done[i], len(points))])
	}
	d.ledger.resumed(d.plan.Points, has)
	d.plan = nil
	if d.ahead != nil {
		d.ledger.saw(d.ahead)
	}
}

// lookBack reads what the segment has before a position, to know the newest
// point of each series: the log may repeat it. It returns a reader at the
// position, or nil. None of it is needed to go on.
func (d *destination) lookBack(ctx context.Context, set *settings, until logged.Position) Reader {
	from := until
	from.Offset = 0
	if from == until || from.Generation > d.live {
		return nil
	}
	reader := d.log.Read(from)
	b := &logged.Batch{}
	w := &window{}
	var r request
	for reader.Position().Before(until) && ctx.Err() == nil && reader.Next(b) && b.Generation == until.Generation && !until.Before(b.End) {
		d.cache.enter(b.Generation)
		w.reset(b.Begin, 1, b.Points()+1)
		w.add(b, set, d.cache, reader.Series)
		if set.convert {
			w.next(0, set, &r)
			r.bounds.keep()
		}
	}
	d.window.number = w.number // The series remember it.
	if reader.Position() != until {
		_ = reader.Close() // It was only read.
		return nil
	}
	return reader
}

// recut reads the window into the requests that it was cut into before. The
// caller holds mu.
func (d *destination) recut(set *settings, sent logged.Position) bool {
	plan, w := d.plan, d.window
	w.reset(sent, plan.Shards, plan.PerRequest)
	d.cache.enter(sent.Generation)
	for w.end.Before(plan.End) {
		b := d.next()
		if b == nil {
			if d.reader.Position().Before(plan.End) {
				return false
			}
			break
		}
		if plan.End.Before(b.End) || b.Generation != plan.End.Generation {
			d.ahead = b
			break
		}
		d.take(b, set)
	}
	w.end = plan.End
	if w.cut() != plan.Cut {
		level.Warn(d.logger).Log("msg", "the log has changed since the process before this one sent of it; what may be sent already is sent again",
			"samples", w.cut(), "before", plan.Cut, "from", sent, "until", plan.End)
		return true
	}
	copy(w.plan.Done, plan.Done)
	return true
}

// abandon counts the window to be resumed as lost: it is no longer in the log,
// or will not be. The caller holds mu.
func (d *destination) abandon(reason string) {
	plan := d.plan
	d.plan = nil
	d.metrics.lose(reason, plan.Points)
	d.ledger.abandoned(plan.Points, reason)
	level.Error(d.logger).Log("msg", "what was being sent is no longer in the log; it is lost", "reason", reason, "samples", plan.Points, "until", plan.End)
	_ = d.reader.Close() // It was only read.
	d.reader, d.ahead = d.log.Read(plan.End), nil
	d.save(func(s *state) { s.Sent, s.Window = plan.End, nil })
	d.claim.Move(plan.End)
}
