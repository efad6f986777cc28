// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"cmp"
	"slices"
)

// group brings the points of each series together, without changing their
// order, when some series has more than one sample among them.
func group(points []point) {
	rank := make(map[*series]int, len(points))
	together := true
	for i := range points {
		s := points[i].series
		if _, ok := rank[s]; !ok {
			rank[s] = i
		} else if points[i-1].series != s {
			together = false
		}
	}
	if together {
		return
	}
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(rank[a.series], rank[b.series]) })
}
