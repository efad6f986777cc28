// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

// exposed are the series of some targets, whose families have labels of their own.
func (r *random) exposed() []*series {
	var all []*series
	var packer packed.Packer
	added := pick(r, "job", "env", "zone")
	for target := range 1 + r.IntN(3) {
		for family := range 1 + r.IntN(6) {
			n := 1 + r.IntN(8)
			if family == 0 {
				n = 1 // It has no label of its own.
			}
			for i := range n {
				s := leavingSeries(r.exposedLabels(added, target, family, i), r.IntN(20) == 0)
				s.logged = packer.Pack(s.logged.Labels())
				all = append(all, s)
			}
		}
	}
	return all
}

func (r *random) exposedLabels(own string, target, family, i int) labels.Labels {
	b := labels.NewBuilder(labels.FromStrings("__name__", fmt.Sprintf("family_%d", family), "instance", strconv.Itoa(target)))
	if family%3 > 0 {
		b.Set("le", strconv.Itoa(i))
	}
	if family%4 > 1 {
		b.Set("code", strconv.Itoa(i%3))
		b.Set("method", strconv.Itoa(i))
	}
	if r.IntN(15) == 0 {
		b.Set(own, pick(r, "own", "", "a"))
	}
	if r.IntN(100) == 0 {
		for extra := range 300 {
			b.Set(fmt.Sprintf("extra_%03d", extra), "same")
		}
	}
	return b.Labels()
}

// scrape is what comes of series in one scrape: most, in the order of the last
// one but for some.
func (r *random) scrape(all []*series) []point {
	points := make([]point, 0, len(all))
	for _, s := range all {
		if r.IntN(20) > 0 {
			points = append(points, point{series: s, t: r.time(), v: float64(r.IntN(9) + 1)})
		}
	}
	if n := len(points); n > 1 && r.IntN(3) == 0 {
		i, j := r.IntN(n), r.IntN(n)
		points[i], points[j] = points[j], points[i]
	}
	return points
}

// TestSeriesThatFollowOneAnother has the same series in request after request, by
// one encoder or by one that takes its place, while some get other labels.
func TestSeriesThatFollowOneAnother(t *testing.T) {
	followed := 0
	for seed := range uint64(60) {
		r := seeded(seed)
		// Numbers begin anywhere, and pass where their lower half is 0 again.
		numbers := pick(r, uint64(300), 1<<32, 2<<32) - uint64(r.IntN(300))
		opts := encodeOptions{
			added: r.added(), typeAndUnitLabels: r.IntN(2) == 0, apart: r.IntN(2) * fewPoints, numbers: &numbers,
		}
		e := &encoder2{opts: opts}
		all := r.exposed()
		for range 10 {
			if r.IntN(20) == 0 {
				e = &encoder2{opts: opts}
			}
			points := r.scrape(all)
			compare2(t, e, points, opts)
			for _, p := range points {
				if p.series.step.from > 0 {
					followed++
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			switch r.IntN(4) {
			case 0: // Other rules.
				s := all[r.IntN(len(all))]
				b := labels.NewBuilder(s.logged.Labels())
				b.Set("rule", pick(r, "a", "b"))
				s.leaveAs(packed.Of(b.Labels()))
				s.step = step{}
			case 1: // It was forgotten and comes again.
				i := r.IntN(len(all))
				all[i] = leavingSeries(all[i].labels().Labels(), all[i].complete)
			case 2: // One that is new.
				all = slices.Insert(all, r.IntN(len(all)), &series{logged: packed.Of(r.exposedLabels("job", r.IntN(3), r.IntN(6), 20+r.IntN(9)))})
			default:
			}
		}
	}
	if followed < 4_000 {
		t.Errorf("only %d followed as before", followed)
	}
}

// TestShapesTakeTurns: series of different names that alternate follow those of their own kind, as many kinds as are known.
func TestShapesTakeTurns(t *testing.T) {
	f := func(kinds int, follow bool) {
		t.Helper()
		var packer packed.Packer
		var points []point
		for i := range 4 {
			for kind := range kinds {
				b := labels.NewBuilder(labels.FromStrings("__name__", "a", fmt.Sprintf("of_%d", kind), "same in all of them"))
				b.Set("i", strconv.Itoa(i))
				points = append(points, point{t: 1, v: 1, series: &series{logged: packer.Pack(b.Labels())}})
			}
		}
		e := &encoder2{opts: encodeOptions{added: addedForBenchmark(), numbers: new(uint64)}}
		for range 3 {
			compare2(t, e, points, e.opts)
		}
		for i, p := range points {
			if want := follow && i >= kinds; (p.series.step.from > 0) != want {
				t.Errorf("of %d kinds: point %d follows another one: %v, want %v", kinds, i, !want, want)
			}
		}
	}
	f(1, true)
	f(2, true)
	f(mostShapes, true)
	f(mostShapes+1, false)
}

// TestBookIsBounded has more values than it takes, and is new after many that it
// had no place for.
func TestBookIsBounded(t *testing.T) {
	e := &encoder2{opts: encodeOptions{numbers: new(uint64)}}
	all := make([]point, bookSize+1000)
	for i := range all {
		all[i] = point{t: 1, v: 1, series: &series{logged: packed.Of(labels.FromStrings("__name__", "a", "id", strconv.Itoa(i)))}}
	}
	for range 3 {
		compare2(t, e, all, e.opts)
	}
	first := e.symbols.book
	if len(first.values) != bookSize || len(first.ids) != bookSize {
		t.Errorf("%d values, want %d", len(first.values), bookSize)
	}
	for _, i := range []int{1, bookSize - 1} {
		if all[i].series.step.from == 0 {
			t.Errorf("series %d has no step", i)
		}
	}
	if all[len(all)-1].series.step.from != 0 {
		t.Error("a series whose value had no place has a step")
	}
	if id, ok := first.id(strings.Repeat("a", longestValue+1)); ok || first.missed != 3*999 {
		t.Errorf("a long value has number %d, %d had no place", id, first.missed)
	}
	first.missed = mostMissed + 1
	compare2(t, e, all[bookSize:], e.opts)
	if e.symbols.book == first || all[len(all)-1].series.step.from == 0 {
		t.Error("the book is still the same")
	}
}

// TestOtherSettingsForgetSteps: labels are others then.
func TestOtherSettingsForgetSteps(t *testing.T) {
	e := &encoder2{opts: encodeOptions{numbers: new(uint64)}}
	points := []point{
		{t: 1, v: 1, series: &series{logged: packed.Of(labels.FromStrings("__name__", "a"))}},
		{t: 1, v: 1, series: &series{logged: packed.Of(labels.FromStrings("__name__", "b"))}},
	}
	for version := range uint16(3) {
		set := &settings{version: version + 1}
		for range 2 {
			for _, p := range points {
				set.resolve(p.series, newResolver())
			}
			if last := points[1].series; version > 0 && last.version != set.version {
				t.Fatalf("version %d, want %d", last.version, set.version)
			}
			compare2(t, e, points, e.opts)
		}
		if points[1].series.step.from == 0 {
			t.Fatal("there is no step")
		}
		(&settings{version: 9}).resolve(points[1].series, newResolver())
		if points[1].series.step != (step{}) {
			t.Error("a series that was resolved anew keeps its step")
		}
	}
}
