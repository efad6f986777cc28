// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// cost is what one agent took under one load. What was not measured is NaN.
type cost struct {
	cpu                       float64 // microseconds a sample
	resident, anonymous, peak float64 // MB
	wire, disk                float64 // bytes a sample
	sleeps                    float64 // a second, of all threads
	work                      float64 // scrapes, of those that the interval asks for
	lost, repeated, disorder  float64 // samples
	altered                   float64 // samples whose value is not quite what the target has shown
	caughtUp                  float64 // seconds from the end of the outage until nothing of it was missing
	behind, behindSlow        float64 // seconds, of the two destinations
	start                     float64 // seconds to the first scrape
	rig                       float64 // how much of their processors targets and receivers took, 1 for all
}

func none() float64 { return math.NaN() }

func unmeasured() cost {
	n := none()
	return cost{cpu: n, resident: n, anonymous: n, peak: n, wire: n, disk: n, sleeps: n, work: n, lost: n, repeated: n, disorder: n, altered: n, caughtUp: n, behind: n, behindSlow: n, start: n, rig: n}
}

// String is for the one who waits.
func (c cost) String() string {
	var parts []string
	add := func(format string, value float64) {
		if !math.IsNaN(value) {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	add("%.2f µs a sample", c.cpu)
	add("%.1f MB", c.resident)
	add("%.1f anonymous", c.anonymous)
	add("%.1f at most", c.peak)
	add("%.1f bytes a sample sent", c.wire)
	add("%.1f written", c.disk)
	add("%.0f times a second to sleep", c.sleeps)
	add("%.0f lost", c.lost)
	add("%.0f repeated", c.repeated)
	add("%.0f out of order", c.disorder)
	add("%.0f with another value", c.altered)
	add("%.2f of the scrapes", c.work)
	add("caught up in %.1f s", c.caughtUp)
	add("%.1f s behind", c.behind)
	add("the slow one %.1f s", c.behindSlow)
	add("first scrape after %.2f s", c.start)
	add("the rig took %.2f of its processors", c.rig)
	return strings.Join(parts, ", ")
}

// together is what several rounds say: the median of what they took, and the worst of what they did wrong.
func together(rounds []cost) cost {
	of := func(choose func([]float64) float64, value func(cost) float64) float64 {
		var values []float64
		for _, one := range rounds {
			if v := value(one); !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		return choose(values)
	}
	middle := func(value func(cost) float64) float64 { return of(median, value) }
	worst := func(value func(cost) float64) float64 { return of(highest, value) }
	return cost{
		cpu:       middle(func(c cost) float64 { return c.cpu }),
		resident:  middle(func(c cost) float64 { return c.resident }),
		anonymous: middle(func(c cost) float64 { return c.anonymous }),
		peak:      middle(func(c cost) float64 { return c.peak }),
		wire:      middle(func(c cost) float64 { return c.wire }),
		disk:      middle(func(c cost) float64 { return c.disk }),
		sleeps:    middle(func(c cost) float64 { return c.sleeps }),
		caughtUp:  middle(func(c cost) float64 { return c.caughtUp }),
		start:     middle(func(c cost) float64 { return c.start }),
		behind:    middle(func(c cost) float64 { return c.behind }), behindSlow: middle(func(c cost) float64 { return c.behindSlow }),
		lost:     worst(func(c cost) float64 { return c.lost }),
		repeated: worst(func(c cost) float64 { return c.repeated }),
		disorder: worst(func(c cost) float64 { return c.disorder }),
		altered:  worst(func(c cost) float64 { return c.altered }),
		rig:      worst(func(c cost) float64 { return c.rig }),
		work:     -worst(func(c cost) float64 { return -c.work }),
	}
}

// highest is NaN of nothing.
func highest(values []float64) float64 {
	result := none()
	for _, v := range values {
		if math.IsNaN(result) || v > result {
			result = v
		}
	}
	return result
}
