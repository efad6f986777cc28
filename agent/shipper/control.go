// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// wakeUp tells that the log has grown by so many points. It never blocks.
func (d *destination) wakeUp(points int) {
	if d.wanted.Add(-int64(points)) > 0 {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default: // It is about to look.
	}
}

// apply makes what is not on its way yet leave by other settings.
func (d *destination) apply(set *settings) {
	if set.identity != d.set.Load().identity {
		d.save(func(s *state) { s.identity = set.identity })
	}
	d.metrics.rename(set)
	d.ledger.rule(set)
	former := d.set.Swap(set)
	close(former.replaced)
}

// sentUntil is where the destination begins again after a restart.
func (d *destination) sentUntil() logged.Position {
	d.journalling.Lock()
	defer d.journalling.Unlock()
	return d.state.Sent
}

// note counts what became of a window's points.
func (d *destination) note(w *window) {
	f := fates{left: leftOut{repeat: w.repeated}}
	f.lose(lostUnknown, w.unknown)
	d.ledger.settle(&f, d.set.Load())
	if w.unknown > 0 {
		d.metrics.lose(lostUnknown, w.unknown)
		level.Error(d.logger).Log("msg", "the log has samples of series that it has no labels of; they are lost", "samples", w.unknown, "until", w.end)
	}
	d.metrics.sent(w)
	w.unknown, w.repeated, w.orphans = 0, 0, 0
}

// end lets go of the log, once run has ended; but for the claim.
func (d *destination) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	_ = d.reader.Close() // It was only read.
	if d.skip != nil {
		_ = d.skip.reader.Close() // The same.
	}
}

// close ends what run has left open, once it has ended.
func (d *destination) close() {
	d.end()
	d.claim.Drop()
	d.set.Load().client.close()
	if d.journal == nil {
		return
	}
	if err := d.journal.close(); err != nil {
		level.Warn(d.logger).Log("msg", "a journal could not be closed; after a power cut some samples would be sent again", "err", err)
	}
}
