// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"time"

	"github.com/go-kit/log/level"
)

// protocol is what is known, since the settings are what they are, of how the
// receiver speaks Remote Write 2.0.
type protocol struct {
	// fell: it does not, and 1.0 is sent. So long as a 2.0 receiver has not once
	// said what it has written, a success without that is one of a 1.0 receiver
	// that did not look at what kind of message it got, and has stored nothing.
	fell bool
	// speaks: it has said what it has written, once.
	speaks bool
	// partly: it has stored a part of a request and refused the rest.
	partly bool
	// tried: a refused request was sent to it by 1.0.
	tried bool
}

// known gives what is known of the protocol, if set are still the settings.
func (s *sender) known(set *settings, use func(*protocol)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == set {
		use(&s.protocol)
	}
}

func (s *sender) fellBack(set *settings) (fell bool) {
	s.known(set, func(p *protocol) { fell = p.fell })
	return fell
}

// learn takes note of an answer to a 2.0 request.
func (s *sender) learn(set *settings, a *answer) {
	if a.written.present {
		s.known(set, func(p *protocol) {
			p.speaks = true
			p.partly = p.partly || a.verdict == refused && a.written.samples+a.written.histograms > 0
		})
	}
}

// fallBack sends by 1.0 from now on, until the settings change, and returns how
// long to wait before. From a receiver that has spoken 2.0 before, a success
// without a word about what it has written is not from that receiver: then
// nothing changes and the route is tried again later.
func (s *sender) fallBack(set *settings, a *answer) time.Duration {
	pause := time.Duration(0)
	s.known(set, func(p *protocol) {
		if p.speaks && a.status/100 == 2 {
			pause = s.park
			return
		}
		if !p.fell {
			level.Warn(s.logger).Log("msg", "the receiver does not speak Remote Write 2.0; 1.0 is sent until the settings change", "status", a.status, "answer", a.words)
		}
		p.fell = true
	})
	return pause
}

// mayBeOld says whether a refusal may be that of a receiver that does not know
// Remote Write 2.0 at all: the specification expects 400 from such ones.
func (d *delivery) mayBeOld() (may bool) {
	if !d.set.v2 || d.old {
		return false
	}
	d.sender.known(d.set, func(p *protocol) { may = !p.fell && !p.speaks && !p.tried })
	return may
}

// tryOld sends a refused request by 1.0, and all that follows too when that is
// stored.
func (d *delivery) tryOld(ctx context.Context, points []point, a answer) error {
	d.sender.known(d.set, func(p *protocol) { p.tried = true })
	d.old = true
	points, again, err := d.ask(ctx, points)
	if err != nil {
		return err
	}
	if d.old = false; again.verdict == stored {
		d.sender.fallBack(d.set, &a)
		d.store(points, again)
		return nil
	}
	if err := d.beSlow(ctx, &a); err != nil {
		return err
	}
	return d.isolate(ctx, points, a)
}
