// SPDX-License-Identifier: Apache-2.0

package shipper

import "sync/atomic"

// grouping brings the points of each series of a request together. It is for one
// goroutine, and the series of the points are for that one meanwhile.
type grouping struct {
	requests *atomic.Uint32 // counts them, for all who work on the same series
	counts   []int32
	grouped  []point
}

// group returns the points with those of each series side by side, in the order
// in which the series appear. The memory of points is for the next ones, and the
// other way round. renewed is that a series may be there by two refs.
func (g *grouping) group(points []point, renewed bool) []point {
	if !g.rank(points, renewed) {
		return points
	}
	if cap(g.counts) <= len(points) {
		g.counts = make([]int32, len(points)+1)
	}
	// counts[i] becomes where the next point of rank i goes.
	counts := g.counts[:len(points)+1]
	clear(counts)
	for i := range points {
		counts[points[i].series.rank+1]++
	}
	for i := range points {
		counts[i+1] += counts[i]
	}
	if cap(g.grouped) < len(points) {
		g.grouped = make([]point, cap(points))
	}
	grouped := g.grouped[:len(points)]
	for i := range points {
		at := &counts[points[i].series.rank]
		grouped[*at] = points[i]
		*at++
	}
	g.grouped = points
	return grouped
}

// rank gives each series the index of its first point, and says whether some
// series' points lie apart.
func (g *grouping) rank(points []point, renewed bool) (apart bool) {
	request := g.requests.Add(1)
	var known map[uint64]*series
	if renewed {
		known = make(map[uint64]*series, len(points))
	}
	for i := range points {
		s := points[i].series
		if s.grouping == request {
			apart = apart || points[i-1].series.rank != s.rank
			continue
		}
		s.grouping, s.rank = request, int32(i)
		if !renewed {
			continue
		}
		if first := known[s.name]; first == nil {
			known[s.name] = s
		} else if first.same(s) {
			s.rank, apart = first.rank, true
		}
	}
	return apart
}
