// SPDX-License-Identifier: Apache-2.0

package shipper

import "testing"

// TestForShards: what a shard has is used again, and what many had is not kept for
// few.
func TestForShards(t *testing.T) {
	many := forShards(8, nil)
	for i := range many {
		many[i].points = make([]point, 0, 10+i)
	}
	few := forShards(2, many)
	if len(few) != 2 || cap(few[0].points) != 10 || cap(few[1].points) != 11 {
		t.Errorf("of 8 there are %d for 2 shards, the first with room for %d points, want that of before", len(few), cap(few[0].points))
	}
	for i, r := range many[2:] {
		if r.points != nil {
			t.Errorf("the memory of shard %d, which is no more, is kept", 2+i)
		}
	}
	again := forShards(8, few)
	if len(again) != 8 || cap(again[1].points) != 11 {
		t.Errorf("%d for 8 shards, the second one with room for %d", len(again), cap(again[1].points))
	}
}

// TestRequestIsNoLargerThanItsPoints: where a few are left of a window no memory
// for a whole request is taken.
func TestRequestIsNoLargerThanItsPoints(t *testing.T) {
	s := logSeries(named("m"))
	w := &window{shards: [][]point{make([]point, 5)}, plan: intent{Shards: 1, PerRequest: 2000, Done: []int{0}}}
	for i := range w.shards[0] {
		w.shards[0][i] = point{series: s, t: int64(i)}
	}
	var r request
	if w.next(0, &settings{}, &r); len(r.points) != 5 || cap(r.points) != 5 {
		t.Errorf("%d points with room for %d, want 5", len(r.points), cap(r.points))
	}
}
