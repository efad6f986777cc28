// SPDX-License-Identifier: Apache-2.0

package shipper

// store notes points as stored, but for what a 2.0 receiver says it has not.
func (d *delivery) store(points []point, a answer) {
	d.misses, d.limit = 0, 0
	d.done(points)
	if a.written.present {
		d.missing(points, a)
		return
	}
	d.fates.sent += d.logged(points)
}

// missing notes what a 2.0 receiver says it has not stored of points, and says
// whether that is anything.
func (d *delivery) missing(points []point, a answer) bool {
	missing := d.metrics.missing(points, d.leftOut, a.written)
	if missing == 0 {
		d.fates.sent += d.logged(points)
		return false
	}
	reason := d.sender.note(d.metrics, refusal{points: points, count: missing, answer: a})
	d.fates.missing(reason, d.logged(points), missing)
	return true
}

// logged counts the points of the log that points are: exemplars are none, and
// of a converted histogram one is.
func (d *delivery) logged(points []point) int {
	if !d.set.convert {
		return countSamples(points)
	}
	n := 0
	for i := range points {
		if p := &points[i]; !p.isExemplar() && !p.series.part {
			n++
		}
	}
	return n
}

// refuse notes points as refused for good.
func (d *delivery) refuse(points []point, a answer) {
	d.done(points)
	d.metrics.failed(points)
	reason := d.sender.note(d.metrics, refusal{points: points, count: countSamples(points), answer: a})
	d.fates.lose(reason, d.logged(points))
}

// done remembers what has its answer of a request that is cut.
func (d *delivery) done(points []point) {
	if len(points) == d.whole {
		return
	}
	for i := range points {
		d.settled = append(d.settled, points[i].key())
	}
}
