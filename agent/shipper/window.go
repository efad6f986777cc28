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
	requests   int       // that it is to have room for
	shards     [][]point // Done of them have their answer
	// exemplars go with the last point of their series before them.
	exemplars map[*series][]attached
	points    int  // that are sent, but for what the settings leave out
	weight    int  // of what it holds, in samples
	open      int  // kept points without an answer; guarded by journalling once it is journalled
	again     bool // a series has several points
	renewed   bool // a series may be in it by two refs
	newest    int64
	oldest    int64      // timestamp; noTime when it has no points
	logged    int        // points of all its records
	progress  []progress // of each shard
	orphans   int        // exemplars without a point in the window
	unknown   int        // points of series that the log has no labels of
	repeated  int        // points not newer than one of their series before

	hash labels.ScratchBuilder // is memory for those of labels
}

// progress is what the ledger knows of a shard.
type progress struct {
	begun    int   // points that had their answer before
	settled  int   // points since, that stand for themselves
	replaced bool  // the settings were, while it was being sent
	early    fates // of points whose request was cut short by that
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
		requests:  shards,
		shards:    make([][]point, shards),
		progress:  make([]progress, shards),
		exemplars: w.exemplars,
		hash:      w.hash,
		newest:    math.MinInt64,
		oldest:    noTime,
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
	cache.begin(w.number)
	w.end = b.End
	w.logged += b.Points()
	for i := range b.Samples {
		s := &b.Samples[i]
		w.put(point{series: cache.get(s.Ref, set, find), t: s.T, st: s.ST, v: s.V}, cache)
	}
	for i := range b.Histograms {
		h := &b.Histograms[i]
		w.put(point{series: cache.get(h.Ref, set, find), t: h.T, st: h.ST, other: &other{histogram: h.H}}, cache)
	}
	for i := range b.FloatHistograms {
		h := &b.FloatHistograms[i]
		w.put(point{series: cache.get(h.Ref, set, find), t: h.T, st: h.ST, other: &other{floatHistogram: h.FH}}, cache)
	}
	for i := range b.Exemplars {
		e := &b.Exemplars[i]
		to := cache.get(e.Ref, set, find)
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

// put takes a point, unless its series is not known. In place of one that is not
// newer than its series' last one something is put that is not sent: how the
// window is cut must not depend on what was read before it. After a failed write
// the log can hold points a second time.
func (w *window) put(p point, cache *seriesCache) {
	s := p.series
	if s == nil {
		w.unknown++
		return
	}
	shard := 0
	if n := uint64(len(w.shards)); n > 1 {
		shard = int(s.hash(&w.hash) % n) // Not by ref: a series may get another.
	}
	if p.t <= s.newest {
		w.repeated++
		if p.t == s.newest && s.window == w.number && p.other == nil {
			w.replace(&w.shards[shard][s.last], &p)
			return
		}
		w.shards[shard] = append(w.shards[shard], point{series: &cache.repeat})
		return
	}
	w.renewed = w.renewed || s.newest == math.MinInt64
	w.again = w.again || s.window == w.number
	s.newest = p.t
	s.window, s.last = w.number, int32(len(w.shards[shard]))
	w.shards[shard] = append(w.shards[shard], p)
	w.points++
	w.weight += p.weight()
	if w.newest = max(w.newest, p.t); p.t < w.oldest || w.points == 1 {
		w.oldest = p.t
	}
}

// replace has the later one of two samples with one timestamp sent: what the
// agent itself says of a scrape is logged after what the target says.
func (*window) replace(had, p *point) {
	if had.other == nil {
		*had = *p
	}
}

// weight is how many samples take the memory of a point.
func (p *point) weight() int {
	switch {
	case p.other == nil:
		return 1
	case p.other.histogram != nil:
		h := p.other.histogram
		return 4 + (len(h.PositiveBuckets)+len(h.NegativeBuckets)+len(h.PositiveSpans)+len(h.NegativeSpans))/4
	case p.other.floatHistogram != nil:
		h := p.other.floatHistogram
		return 4 + (len(h.PositiveBuckets)+len(h.NegativeBuckets)+len(h.PositiveSpans)+len(h.NegativeSpans))/4
	}
	return 4
}

// maxWindow is the weight that no window exceeds by more than a record, unless a
// single request is to have more.
const maxWindow = 1 << 18

// room is how many points are still to come until it is full.
func (w *window) room() int { return max(w.size()-w.points, 1) }

// size is how many points it is to have. Shards are not of the same size, and what
// is too much for one request takes another.
func (w *window) size() int {
	most := w.requests * w.plan.PerRequest
	if w.plan.Shards > 1 {
		most -= most / 16
	}
	return most
}

// full says whether another record, of so many points, is to go into the next
// window. A request for the few that are too many would cost as much as another.
func (w *window) full(more int) bool {
	most := w.size()
	return w.points >= most || w.points >= most/2 && w.points+more > most ||
		w.weight >= maxWindow && w.points >= w.plan.PerRequest
}

// resolve makes the points that are not answered leave by set.
func (w *window) resolve(set *settings, r *resolver) {
	for shard, points := range w.shards {
		for i := min(w.plan.Done[shard], len(points)); i < len(points); i++ {
			set.resolve(points[i].series, r)
		}
	}
}

// request is what is sent at once of a shard.
type request struct {
	points []point
	done   int     // points of the shard that are answered once these are; 0 when all are
	kept   int     // of the shard's points in it
	left   leftOut // of the shard's points, that are not in it
	bounds classicBounds
}

// next makes the next request of a shard in the memory of the one before.
func (w *window) next(shard int, set *settings, r *request) {
	all := w.shards[shard]
	begin := min(w.plan.Done[shard], len(all))
	points, count := r.points[:0], 0
	if points == nil {
		points = make([]point, 0, min(w.plan.PerRequest, len(all)-begin))
	}
	*r = request{done: begin, left: leftOut{rules: r.left.rules[:0]}}
	if set.convert {
		r.bounds = classicBounds{}
	}
	for ; r.done < len(all) && count < w.plan.PerRequest; r.done++ {
		p := &all[r.done]
		if p.series.stand {
			count++ // It may have been sent by the process before this one.
			continue
		}
		if !set.kept(p) {
			r.left.drop(p.series)
			continue
		}
		count++
		r.kept++
		var converted bool
		before := len(points)
		if points, converted = set.appendConverted(points, p, r.bounds); converted {
			if len(points) == before {
				r.left.classicNot++
			}
			continue // Exemplars of buckets stay behind with the histogram.
		}
		points = append(points, *p)
		if set.exemplars {
			points = w.appendExemplars(points, p.series, int32(r.done))
		}
	}
	if r.points = points; r.done == begin {
		r.done = 0
	}
}

func (w *window) appendExemplars(points []point, of *series, at int32) []point {
	for _, a := range w.exemplars[of] {
		if a.point == at {
			points = append(points, point{series: of, t: a.exemplar.Ts, other: &other{exemplar: &a.exemplar}})
		}
	}
	return points
}

// left counts the points without an answer that are to be sent by set.
func (w *window) left(set *settings) int {
	n := 0
	for shard, points := range w.shards {
		for i := min(w.plan.Done[shard], len(points)); i < len(points); i++ {
			if set.kept(&points[i]) {
				n++
			}
		}
	}
	return n
}

// cut counts all points of each shard: by the same plan the same log gives the
// same.
func (w *window) cut() int {
	n := 0
	for _, points := range w.shards {
		n += len(points)
	}
	return n
}

// standing counts points that stand for themselves.
func standing(points []point) int {
	n := 0
	for i := range points {
		if !points[i].series.stand {
			n++
		}
	}
	return n
}
