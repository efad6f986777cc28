// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// grouping brings the points of each series of a request together. It may be used
// concurrently with points of different series: one after another groups in the
// same memory, which takes far less time than an answer. All who work on the same
// series are to use the same one.
type grouping struct {
	mu       sync.Mutex // guards the fields below
	requests uint32     // counts them
	counts   []int32
	spare    []point               // memory
	hash     labels.ScratchBuilder // the same
}

// group returns the points with those of each series side by side, in the order
// in which the series appear. The memory of points is for the next ones, and the
// other way round. renewed is that a series may be there by two refs.
func (g *grouping) group(points []point, renewed bool) []point {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.rank(points, renewed) {
		return points
	}
	grouped := g.spare
	if cap(grouped) < len(points) {
		grouped = make([]point, cap(points))
	}
	g.spare = points
	return g.order(grouped[:len(points)], points)
}

// groupPart is group for a part of what others hold: its memory stays theirs.
func (g *grouping) groupPart(points []point, renewed bool) []point {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.rank(points, renewed) {
		return points
	}
	return g.order(make([]point, len(points)), points)
}

// order puts the points, which have their rank, into grouped, and returns it.
func (g *grouping) order(grouped, points []point) []point {
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
	for i := range points {
		at := &counts[points[i].series.rank]
		grouped[*at] = points[i]
		*at++
	}
	return grouped
}

// rank gives each series the index of its first point, and says whether some
// series' points lie apart.
func (g *grouping) rank(points []point, renewed bool) (apart bool) {
	g.requests++
	request := g.requests
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
		if first := known[s.hash(&g.hash)]; first == nil {
			known[s.name] = s
		} else if first.alike(s) {
			s.rank, apart = first.rank, true
		}
	}
	return apart
}
