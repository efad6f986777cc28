// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/logged"
)

// window is a stretch of the log, whole records only, that is sent before what
// comes after it. Its points lie in shards by their series, in the order of the
// log.
type window struct {
	number     uint32
	begin, end logged.Position
	plan       intent
	shards     [][]point // Done of them have their answer
	// exemplars go with the last point of their series before them.
	exemplars map[*series][]attached
	points    int
	newest    int64
	orphans   int // exemplars without a point in the window
	unknown   int // points of series that the log has no labels of
	repeated  int // points not newer than one of their series before
}

type attached struct {
	point    int32 // index in the shard
	exemplar exemplar.Exemplar
}

// reset begins a window of that many shards at a position.
func (w *window) reset(begin logged.Position, shards, perRequest int) {
	old := w.shards
	*w = window{
		number: w.number + 1, begin: begin, end: begin,
		plan:      intent{Shards: shards, PerRequest: perRequest, Done: make([]int, shards)},
		shards:    make([][]point, shards),
		exemplars: w.exemplars,
		newest:    math.MinInt64,
	}
	clear(w.exemplars)
	// The memory of the shards is used again, so long as it is not that of an
	// outsized window.
	for i := range min(len(old), shards) {
		clear(old[i])
		if cap(old[i]) <= 4*perRequest {
			w.shards[i] = old[i][:0]
		}
	}
}

// add takes what one record holds.
func (w *window) add(b *logged.Batch, set *settings, cache *seriesCache, find lookup) {
	w.end = b.End
	for i := range b.Samples {
		s := &b.Samples[i]
		if to := cache.get(s.Ref, s.T, set, find); w.takes(to, s.T) {
			w.put(point{series: to, t: s.T, st: s.ST, v: s.V})
		}
	}
	for i := range b.Histograms {
		h := &b.Histograms[i]
		if to := cache.get(h.Ref, h.T, set, find); w.takes(to, h.T) {
			w.put(point{series: to, t: h.T, st: h.ST, other: &other{histogram: h.H}})
		}
	}
	for i := range b.FloatHistograms {
		h := &b.FloatHistograms[i]
		if to := cache.get(h.Ref, h.T, set, find); w.takes(to, h.T) {
			w.put(point{series: to, t: h.T, st: h.ST, other: &other{floatHistogram: h.FH}})
		}
	}
	for i := range b.Exemplars {
		e := &b.Exemplars[i]
		to := cache.get(e.Ref, e.T, set, find)
		if to == nil || to.window != w.number {
			w.orphans++
			continue
		}
		if w.exemplars == nil {
			w.exemplars = map[*series][]attached{}
		}
		w.exemplars[to] = append(w.exemplars[to], attached{
			point:    to.last,
			exemplar: exemplar.Exemplar{Labels: e.Labels, Value: e.V, Ts: e.T, HasTs: true},
		})
	}
}

// takes says whether a point of a series is new. After a failed write the log
// can hold points a second time.
func (w *window) takes(to *series, t int64) bool {
	switch {
	case to == nil:
		w.unknown++
		return false
	case t <= to.newest:
		w.repeated++
		return false
	}
	return true
}

func (w *window) put(p point) {
	shard := int(uint64(p.series.ref) % uint64(len(w.shards)))
	p.series.newest = p.t
	p.series.window, p.series.last = w.number, int32(len(w.shards[shard]))
	w.shards[shard] = append(w.shards[shard], p)
	w.points++
	w.newest = max(w.newest, p.t)
}

// room is how many points are still to come until it is full.
func (w *window) room() int { return max(w.plan.Shards*w.plan.PerRequest-w.points, 1) }

// full says whether another record is to go into the next window.
func (w *window) full() bool { return w.points >= w.plan.Shards*w.plan.PerRequest }

// resolve makes the points that are not answered leave by set.
func (w *window) resolve(set *settings, b *labels.Builder) {
	for shard, points := range w.shards {
		for i := min(w.plan.Done[shard], len(points)); i < len(points); i++ {
			set.resolve(points[i].series, b)
		}
	}
}

// request gives the points to send next of a shard, and how many of its points
// are answered once those are; 0 when all are.
func (w *window) request(shard int, set *settings, into []point) (points []point, done int) {
	all := w.shards[shard]
	begin := min(w.plan.Done[shard], len(all))
	points = into[:0]
	count := 0
	for done = begin; done < len(all) && count < w.plan.PerRequest; done++ {
		p := &all[done]
		if !set.kept(p) {
			continue
		}
		count++
		var converted bool
		if points, converted = set.appendConverted(points, p); converted {
			continue // Exemplars of buckets stay behind with the histogram.
		}
		points = append(points, *p)
		if set.exemplars {
			points = w.appendExemplars(points, p.series, int32(done))
		}
	}
	if done == begin {
		return points, 0
	}
	return points, done
}

func (w *window) appendExemplars(points []point, of *series, at int32) []point {
	for _, a := range w.exemplars[of] {
		if a.point == at {
			points = append(points, point{series: of, t: a.exemplar.Ts, other: &other{exemplar: &a.exemplar}})
		}
	}
	return points
}

// left counts the points without an answer.
func (w *window) left() int {
	n := 0
	for i, points := range w.shards {
		n += max(len(points)-w.plan.Done[i], 0)
	}
	return n
}
