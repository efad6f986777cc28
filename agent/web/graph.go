// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The size of a graph, in its own units, and where its axes are.
const (
	graphWidth, graphHeight               = 480, 150
	graphLeft, graphTop, graphRight, base = 46, 10, 470, 124
)

// graph is a small picture of the last hour, as numbers for a template to draw.
type graph struct {
	Title  string
	Label  string // for who cannot see it
	Lines  []line
	Levels []tick // of the y axis
	Times  []tick // of the x axis
	Empty  bool   // too little is known yet
}

type (
	line struct {
		Name, Class string
		Points      string // of a polyline
		Area        string // of a polygon below it; "" for none
	}
	tick struct {
		At   string
		Text string
	}
	// value is one point of a line: seconds ago, and how much.
	value struct{ ago, v float64 }
)

// newGraph draws lines with the same x axis, which ends now. What is said of it is of the first line.
func newGraph(title, unit string, lines map[string][]value, names ...string) graph {
	g := graph{Title: title}
	most, oldest := 0.0, 0.0
	for _, values := range lines {
		for _, p := range values {
			most, oldest = max(most, p.v), max(oldest, p.ago)
		}
	}
	first := lines[names[0]]
	if len(first) < 2 {
		g.Empty = true
		return g
	}
	high := round(most)
	x := func(ago float64) float64 { return graphRight - ago/axis(oldest)*(graphRight-graphLeft) }
	y := func(v float64) float64 { return base - v/high*(base-graphTop) }
	for i, name := range names {
		l := line{Name: name, Class: "line" + strconv.Itoa(i+1)}
		var points strings.Builder
		for _, p := range lines[name] {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(p.ago), y(p.v))
		}
		l.Points = strings.TrimSpace(points.String())
		if values := lines[name]; i == 0 {
			l.Area = fmt.Sprintf("%.1f,%d %s %.1f,%d", x(values[0].ago), base, l.Points, x(values[len(values)-1].ago), base)
		}
		g.Lines = append(g.Lines, l)
	}
	for _, share := range []float64{0, 0.5, 1} {
		g.Levels = append(g.Levels, tick{fmt.Sprintf("%.1f", y(share*high)), short(share * high)})
	}
	for _, share := range []float64{1, 0.5, 0} {
		ago := share * axis(oldest)
		text := span(time.Duration(ago)*time.Second) + " ago"
		if ago == 0 {
			text = "now"
		}
		g.Times = append(g.Times, tick{fmt.Sprintf("%.1f", x(ago)), text})
	}
	g.Label = fmt.Sprintf("%s over the last %s: %s %s now, at most %s", title, span(time.Duration(oldest)*time.Second),
		short(first[len(first)-1].v), unit, short(most))
	return g
}

// axis is how many seconds an x axis has that begins at the oldest value.
func axis(oldest float64) float64 {
	for _, length := range []float64{120, 600, 1800} {
		if oldest <= length {
			return length
		}
	}
	return 3600
}

// round is the next higher number that is easy to read, and to halve: 1, 2, 4, 5 or 10 of a power of ten.
func round(v float64) float64 {
	if v <= 2 {
		return 2
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// backlogGraph is how many samples waited.
func backlogGraph(points []point, now time.Time) graph {
	values := make([]value, 0, len(points))
	for _, p := range points {
		values = append(values, value{now.Sub(p.at).Seconds(), float64(p.pending)})
	}
	return newGraph("Samples waiting to be sent", "samples", map[string][]value{"waiting": recent(values)}, "waiting")
}

// throughputGraph is how many samples came and went a second.
func throughputGraph(points []point, now time.Time) graph {
	var sent, scraped []value
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		passed := to.at.Sub(from.at).Seconds()
		if passed <= 0 {
			continue
		}
		ago := now.Sub(to.at).Seconds()
		sent = append(sent, value{ago, max(float64(to.sent-from.sent)/passed, 0)})
		scraped = append(scraped, value{ago, max(float64(to.scraped-from.scraped)/passed, 0)})
	}
	return newGraph("Samples a second", "samples a second sent",
		map[string][]value{"sent": recent(sent), "scraped": recent(scraped)}, "sent", "scraped")
}

// recent leaves out what is older than the axis is long: the clock may have been set.
func recent(values []value) []value {
	kept := values[:0]
	for _, p := range values {
		if p.ago >= 0 && p.ago <= 3600 {
			kept = append(kept, p)
		}
	}
	return kept
}
