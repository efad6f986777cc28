// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// skip reads, ahead of a destination, what it will never be sent.
type skip struct {
	reader Reader
	cache  *seriesCache
	window window        // of the record counted last
	ahead  *logged.Batch // the first one that it will be sent
	old    Reader        // of ahead, while that is of the destination; it knows its series
}

func (s *skip) position() logged.Position {
	if s.ahead != nil {
		return s.ahead.Begin
	}
	return s.reader.Position()
}

// giveUp counts what of the log before a position is in no window yet, and makes
// the destination go on behind it. What is in a window is still sent.
func (d *destination) giveUp(to logged.Position, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return // Whoever comes after it is told, too.
	}
	if d.plan != nil && d.sentUntil().Before(to) {
		d.abandon(reason)
	}
	if d.filling && d.window.points > 0 && d.window.begin.Before(to) {
		// Should the process end now, the next one must be able to count it.
		d.intend()
	}
	if d.skip == nil {
		if !d.position().Before(to) {
			return
		}
		d.skip = &skip{reader: d.log.Read(d.reader.Position()), cache: newSeriesCache(), ahead: d.ahead, old: d.reader}
		d.ahead = nil
	}
	set := d.set.Load()
	left := d.skip.to(to, set, d.ledger.saw)
	lost := left.sent
	left.sent = 0
	left.lose(reason, lost)
	d.ledger.settle(&left, set)
	if lost == 0 {
		return
	}
	d.metrics.lose(reason, lost)
	level.Error(d.logger).Log("msg", "the oldest of the log had to go before it was sent; its samples are lost for this destination",
		"reason", reason, "samples", lost, "until", to)
}

// to reads on to a position and counts points as if set had sent them. saw is
// told of each record that is read.
func (s *skip) to(to logged.Position, set *settings, saw func(*logged.Batch)) (f fates) {
	for s.position().Before(to) {
		if s.ahead == nil {
			s.old = nil
			s.ahead = &logged.Batch{}
			if !s.reader.Next(s.ahead) {
				s.ahead = nil
				return f
			}
			saw(s.ahead)
			continue // It may begin where it need not be skipped.
		}
		s.count(s.ahead, set, &f)
		s.ahead = nil
	}
	return f
}

func (s *skip) count(b *logged.Batch, set *settings, f *fates) {
	s.cache.enter(b.Generation)
	w := &s.window
	w.reset(b.Begin, 1, set.perRequest)
	find := s.reader.Series
	if s.old != nil {
		find = s.old.Series
	}
	w.add(b, set, s.cache, find)
	f.sent += w.unknown
	f.left.repeat += w.repeated
	for i := range w.shards[0] {
		switch p := &w.shards[0][i]; {
		case p.series.stand:
		case set.kept(p):
			f.sent++
		default:
			f.left.drop(p.series)
		}
	}
}
