// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

func logSeries(ls labels.Labels) *series { return &series{logged: packed.Of(ls), name: ls.Hash()} }

// Against the plain way: a stable sort by first appearance.
func TestGroup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var g grouping
	for round := range 300 {
		all := make([]*series, 1+r.IntN(20))
		for i := range all {
			all[i] = logSeries(named(serial(r.IntN(len(all))))) // Some by two refs.
			if r.IntN(4) == 0 {
				all[i].name = 7 // A collision.
			}
		}
		points := make([]point, r.IntN(50))
		for i := range points {
			points[i] = point{series: all[r.IntN(len(all))], t: int64(i)}
		}
		renewed := round%2 == 0
		one := func(a, b *series) bool { return a == b || renewed && a.alike(b) }
		var want []int64
		for i := range points {
			if slices.ContainsFunc(points[:i], func(p point) bool { return one(p.series, points[i].series) }) {
				continue
			}
			for _, p := range points[i:] {
				if one(p.series, points[i].series) {
					want = append(want, p.t)
				}
			}
		}
		collided := slices.ContainsFunc(all, func(s *series) bool { return s.name == 7 })
		got := g.group(points, renewed)
		var at []int64
		for _, p := range got {
			at = append(at, p.t)
		}
		if !collided || !renewed {
			for i, p := range points {
				if o := points[0].series; p.series.same(o) != one(p.series, o) {
					t.Fatalf("round %d: point %d is of the series of the first one: %v", round, i, p.series.same(o))
				}
			}
			if diff := cmp.Diff(want, at); diff != "" {
				t.Fatalf("round %d: -want +got:\n%s", round, diff)
			}
			continue
		}
		// Of those whose hashes collide only the first is put together; but no
		// point is lost, and those of each ref are in order.
		last := map[*series]int64{}
		for i, p := range got {
			if was, ok := last[p.series]; ok && was > p.t {
				t.Fatalf("round %d: out of order", round)
			}
			last[p.series] = p.t
			if slices.ContainsFunc(got[:i], func(o point) bool { return o.t == p.t }) {
				t.Fatalf("round %d: twice", round)
			}
		}
		if len(got) != len(points) {
			t.Fatalf("round %d: %d of %d", round, len(got), len(points))
		}
	}
}

// Two series with one hash are two series everywhere.
func TestCollidingNames(t *testing.T) {
	a, b := logSeries(named("a")), logSeries(named("b"))
	b.name = a.name
	again := logSeries(named("a"))
	if a.alike(b) || !a.alike(again) {
		t.Error("alike looks at the hash only")
	}
	nobody := &series{}
	if nobody.alike(&series{}) {
		t.Error("two without labels are one")
	}
	points := []point{{series: a, t: 1}, {series: b, t: 2}}
	if r := firstRun(points, true); r.samples != 1 {
		t.Errorf("a run of %d", r.samples)
	}
	if _, second, ofSeries := split(points); len(second) != 1 || ofSeries {
		t.Error("not split between them")
	}
}

// TestGroupPart: what stays with others is not written to later.
func TestGroupPart(t *testing.T) {
	var g grouping
	a, b := logSeries(named("a")), logSeries(named("b"))
	apart := func(from int64) []point {
		return []point{{series: a, t: from}, {series: b, t: from + 1}, {series: a, t: from + 2}}
	}
	times := func(points []point) (at []int64) {
		for _, p := range points {
			at = append(at, p.t)
		}
		return at
	}
	part := apart(1)
	grouped := g.groupPart(part, false)
	for from := int64(10); from < 40; from += 10 {
		if diff := cmp.Diff([]int64{from, from + 2, from + 1}, times(g.group(apart(from), false))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if diff := cmp.Diff([]int64{1, 3, 2}, times(grouped)); diff != "" {
		t.Errorf("grouped: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, times(part)); diff != "" {
		t.Errorf("the part itself: -want +got:\n%s", diff)
	}
}
