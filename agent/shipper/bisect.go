// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"math/bits"
)

const (
	// fewSeries: so few points are not worth to be asked together when they are
	// likely to be refused, as they are after misses refusals in a row.
	fewSeries = 4
	misses    = 8
	// narrowings: so many refused series are looked for in a request by halving;
	// when there are more, every half is asked.
	narrowings = 2
)

// halve sends two halves of what was too large.
func (d *delivery) halve(ctx context.Context, points []point, a answer) error {
	if d.tiny {
		// Hardly a limit on size: the receiver, or what is in its place, is not
		// well. Nothing is given up in a hurry.
		if err := pause(ctx, d.set, d.sender.park); err != nil {
			return err
		}
	}
	first, second, _ := split(points)
	if len(second) == 0 {
		d.refuse(points, a)
		return nil
	}
	if err := d.send(ctx, first); err != nil {
		return err
	}
	return d.send(ctx, second)
}

// settlePartly settles what a 2.0 receiver refused and said how much of it it
// has stored all the same. Which points it stored it does not say. When it has
// stored none, it may be one that stores a request whole or not at all: then the
// others are looked for, if not for long when none is found.
func (d *delivery) settlePartly(ctx context.Context, points []point, a answer) error {
	partly := false
	d.sender.known(d.set, func(p *protocol) { partly = p.partly })
	if !partly && a.written.samples+a.written.histograms == 0 && countSamples(points) > 0 {
		if _, second, _ := split(points); len(second) > 0 {
			d.limit = 2 * bits.Len(uint(d.whole))
			return d.isolate(ctx, points, a)
		}
	}
	d.done(points)
	if d.missing(points, a) {
		d.misses++
	}
	return nil
}

// isolate finds the series that made a receiver refuse a request, and delivers
// the others. bad was refused by the answer a.
//
// Of two halves one is asked. When it is stored the other one is known to be
// bad; when it is refused the other one is unknown, and is sent in the end
// together with all that is unknown then. Each series stays whole until it
// stands alone, so that its points arrive in order. Of series the later half is
// asked: either would do, but the compliance suite of 1.0 does not want to see
// again the sample that headed a refused request.
func (d *delivery) isolate(ctx context.Context, bad []point, a answer) error {
	var unknown []point
	for {
		first, second, ofSeries := split(bad)
		if len(second) == 0 {
			break
		}
		if d.hopeless() {
			d.refuse(bad, a)
			d.refuse(unknown, a)
			return nil
		}
		if len(unknown) > 0 && !d.few() && !ofSeries && alone(first) && alone(second) {
			done, err := d.finish(ctx, unknown, first, second, a)
			if done || err != nil {
				return err
			}
		}
		probe, rest := second, first
		if ofSeries {
			probe, rest = first, second
		}
		probe, got, err := d.ask(ctx, probe)
		switch {
		case err != nil:
			return err
		case got.verdict == stored:
			d.store(probe, got)
			bad = rest
		case got.verdict == refused && !partial(&got):
			if err := d.missed(ctx, &got); err != nil {
				return err
			}
			unknown = append(append(make([]point, 0, len(rest)+len(unknown)), rest...), unknown...)
			bad, a = probe, got
		default:
			if err := d.settle(ctx, probe, got); err != nil {
				return err
			}
			return d.send(ctx, append(append(make([]point, 0, len(rest)+len(unknown)), rest...), unknown...))
		}
	}
	if err := d.refuseAlone(ctx, bad, a); err != nil {
		return err
	}
	return d.rest(ctx, unknown)
}

func partial(a *answer) bool { return a.written.present && a.written.samples+a.written.histograms > 0 }

// finish settles two series of which at least one is bad with one request less
// than otherwise, when the unknown is all good: one of the two goes with it. It
// says whether that worked out.
func (d *delivery) finish(ctx context.Context, unknown, first, second []point, a answer) (bool, error) {
	for _, pair := range [][2][]point{{second, first}, {first, second}} {
		with, other := pair[0], pair[1]
		both := append(append(make([]point, 0, len(unknown)+len(with)), with...), unknown...)
		both, got, err := d.ask(ctx, both)
		if err != nil {
			return false, err
		}
		if got.verdict == stored {
			d.store(both, got)
			return true, d.refuseAlone(ctx, other, a)
		}
		if got.verdict != refused || partial(&got) {
			if err := d.settle(ctx, both, got); err != nil {
				return false, err
			}
			return true, d.send(ctx, other)
		}
		if err := d.missed(ctx, &got); err != nil {
			return false, err
		}
	}
	return false, nil
}

// missed notes that part of a refused request is refused too.
func (d *delivery) missed(ctx context.Context, a *answer) error {
	d.misses++
	return d.beSlow(ctx, a)
}

// hopeless says whether so much was refused of what a receiver has stored
// nothing of that the rest may be believed to be refused too.
func (d *delivery) hopeless() bool { return d.limit > 0 && d.misses >= d.limit }

// few says that the whole request was hardly worth halving.
func (d *delivery) few() bool { return d.whole <= 2*fewSeries }

// rest delivers what is left after a refused series was found.
func (d *delivery) rest(ctx context.Context, unknown []point) error {
	if len(unknown) == 0 {
		return nil
	}
	if d.few() && len(unknown) <= fewSeries || d.found >= narrowings {
		return d.each(ctx, unknown)
	}
	return d.send(ctx, unknown)
}

// each asks both halves of points that are likely to be bad, and so on.
func (d *delivery) each(ctx context.Context, points []point) error {
	first, second, _ := split(points)
	if len(second) == 0 {
		return d.askAlone(ctx, points)
	}
	if len(points) <= fewSeries && (d.misses >= misses || d.few()) {
		if err := d.each(ctx, first); err != nil {
			return err
		}
		return d.each(ctx, second)
	}
	for _, half := range [][]point{first, second} {
		half, got, err := d.ask(ctx, half)
		if err != nil {
			return err
		}
		if got.verdict != refused || partial(&got) {
			if err := d.settle(ctx, half, got); err != nil {
				return err
			}
			continue
		}
		if err := d.missed(ctx, &got); err != nil {
			return err
		}
		if _, more, _ := split(half); len(more) == 0 {
			err = d.refuseAlone(ctx, half, got)
		} else {
			err = d.each(ctx, half)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// askAlone settles points that cannot be split.
func (d *delivery) askAlone(ctx context.Context, points []point) error {
	points, got, err := d.ask(ctx, points)
	if err != nil {
		return err
	}
	if got.verdict == refused && !partial(&got) {
		d.misses++
		return d.refuseAlone(ctx, points, got)
	}
	return d.settle(ctx, points, got)
}

// refuseAlone gives up what was refused and cannot be split. A sample is tried
// without its exemplars first: it may be about those.
func (d *delivery) refuseAlone(ctx context.Context, points []point, a answer) error {
	d.found++
	if n := len(points); n > 1 && points[n-1].isExemplar() && !points[0].isExemplar() {
		sample, exemplars := points[:1], points[1:]
		sample, got, err := d.ask(ctx, sample)
		if err != nil {
			return err
		}
		if got.verdict == stored {
			d.store(sample, got)
			d.refuse(exemplars, a)
			return nil
		}
	}
	d.refuse(points, a)
	return nil
}

// beSlow waits after a refusal of a tiny 2.0 request that says nothing, not even
// what was written, as a receiver of 2.0 must: it is likely not to be about
// series, and must not be answered by a burst of requests.
func (d *delivery) beSlow(ctx context.Context, a *answer) error {
	if !d.tiny || !d.set.v2 || d.sender.fellBack(d.set) || a.written.present || !a.bare() {
		return nil
	}
	return pause(ctx, d.set, d.sender.polite)
}

// split cuts points in two, near the middle: between series, or, of one series
// only, between its points; exemplars stay with their sample. The second part is
// empty when that cannot be.
func split(points []point) (first, second []point, ofSeries bool) {
	middle := len(points) / 2
	if at := boundary(points, middle, func(i int) bool { return !points[i].series.same(points[i-1].series) }); at > 0 {
		return points[:at:at], points[at:], false
	}
	if at := boundary(points, middle, func(i int) bool { return !points[i].isExemplar() }); at > 0 {
		return points[:at:at], points[at:], true
	}
	return points, nil, true
}

// boundary returns the index nearest to middle where points may be cut, or 0.
func boundary(points []point, middle int, may func(i int) bool) int {
	for away := range len(points) {
		if at := middle + away; at > 0 && at < len(points) && may(at) {
			return at
		}
		if at := middle - away; at > 0 && at < len(points) && may(at) {
			return at
		}
	}
	return 0
}

// alone says whether points cannot be split.
func alone(points []point) bool {
	_, second, _ := split(points)
	return len(second) == 0
}
