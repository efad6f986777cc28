// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed plot.svg.tmpl
var plotTemplate string

// The measures of the picture, in pixels.
const (
	plotWidth   = 960
	plotMargin  = 24
	plotHead    = 96  // above the first panel
	panelHeight = 212 // of which
	panelTop    = 56  // is above the bars,
	barsHeight  = 120 // these are theirs, and the rest is below them
	widestBar   = 48
)

// drawing is what the template draws. Its texts are escaped.
type drawing struct {
	Width, Height int
	Summary       string
	Legend        []mark
	Panels        []panel
}

type mark struct {
	X           int
	Class, Text string
}

type panel struct {
	Title, Unit           string
	Left, Right           int
	Heading, Floor, Names int    // heights of lines of text, and of what the bars stand on
	One                   string // the height of the ratio 1
	Groups                []group
}

type group struct {
	Middle, Name string
	Bars         []bar
}

type bar struct {
	X, Y, Width, Height string
	Middle, Above       string // where its label is
	Class, Label, Tip   string
}

// drawn is a value that has a panel.
type drawn struct {
	title, unit string
	digits      int
	value       func(cost) float64
}

// plot draws what agents take as bars by load, as high as their ratio to Prometheus's agent. It leaves out the one with
// another protocol, which is there for its bytes only.
func (r *report) plot() (string, error) {
	agents := slices.DeleteFunc(slices.Clone(r.agents), func(a agent) bool { return a.name == baseOld })
	d := drawing{Width: plotWidth, Summary: html.EscapeString(r.summary())}
	x := plotMargin
	for i, a := range agents {
		d.Legend = append(d.Legend, mark{X: x, Class: class(i), Text: html.EscapeString(a.name)})
		x += 56 + 8*len(a.name)
	}
	for i, what := range []drawn{
		{"CPU", "µs a sample", 2, func(c cost) float64 { return c.cpu }},
		{"Memory", "MB resident", 0, func(c cost) float64 { return c.resident }},
		{"Network", "bytes a sample", 1, func(c cost) float64 { return c.wire }},
	} {
		d.Panels = append(d.Panels, r.panel(what, agents, plotHead+i*panelHeight))
	}
	d.Height = plotHead + len(d.Panels)*panelHeight
	parsed, err := template.New("plot").Parse(plotTemplate)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = parsed.Execute(&text, d)
	return text.String(), err
}

func class(i int) string { return fmt.Sprintf("agent%d", i) }

// panel draws one value of all agents under all loads.
func (r *report) panel(what drawn, agents []agent, top int) panel {
	p := panel{
		Title: html.EscapeString(what.title), Unit: html.EscapeString(what.unit), Left: plotMargin, Right: plotWidth - plotMargin,
		Heading: top + 18, Floor: top + panelTop + barsHeight, Names: top + panelTop + barsHeight + 18,
	}
	var loads []string
	most := 1.0
	for _, load := range r.setting.scenarios {
		if load.event == starting {
			continue
		}
		loads = append(loads, load.name)
		for _, a := range agents {
			if q := what.value(r.of(load.name, a.name)) / what.value(r.of(load.name, base)); q > most {
				most = q
			}
		}
	}
	scale := barsHeight / most
	p.One = pixels(float64(p.Floor) - scale)
	span := float64(p.Right-p.Left) / float64(max(len(loads), 1))
	for i, load := range loads {
		middle := float64(p.Left) + span*(float64(i)+0.5)
		g := group{Middle: pixels(middle), Name: html.EscapeString(load)}
		width := min(widestBar, (span-16)/float64(len(agents)))
		for j, a := range agents {
			left := middle + width*(float64(j)-float64(len(agents))/2)
			g.Bars = append(g.Bars, r.bar(what, load, a, bar{X: pixels(left + 1), Width: pixels(width - 2), Middle: pixels(left + width/2), Class: class(j)}, float64(p.Floor), scale))
		}
		p.Groups = append(p.Groups, g)
	}
	return p
}

// bar gives a bar its height and its texts: that of Prometheus's agent bears the value, others bear their ratio to it.
func (r *report) bar(what drawn, load string, a agent, b bar, floor, scale float64) bar {
	value, reference := what.value(r.of(load, a.name)), what.value(r.of(load, base))
	height := value / reference * scale
	b.Label, b.Tip = ratio(value, reference), fmt.Sprintf("%s, %s: %s %s", a.name, load, number(value, what.digits), what.unit)
	if a.name == base {
		b.Label = number(value, what.digits)
	}
	if math.IsNaN(height) || math.IsInf(height, 0) {
		height, b.Label = 0, unknown
	}
	b.Height, b.Y, b.Above = pixels(height), pixels(floor-height), pixels(floor-height-5)
	b.Label, b.Tip = html.EscapeString(b.Label), html.EscapeString(b.Tip)
	return b
}

func pixels(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// summary is the picture in words.
func (r *report) summary() string {
	var parts []string
	for _, load := range r.setting.scenarios {
		us, them := r.of(load.name, ours), r.of(load.name, base)
		if !math.IsNaN(us.cpu / them.cpu) {
			parts = append(parts, fmt.Sprintf("%s: CPU %s, memory %s, network %s", load.name,
				ratio(us.cpu, them.cpu), ratio(us.resident, them.resident), ratio(us.wire, them.wire)))
		}
	}
	return "What torchbearer takes, where Prometheus's agent takes 1. " + strings.Join(parts, "; ") + "."
}
