// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"torchbearer/e2e/load"
)

// A scenario is a load, and what happens under it.
type scenario struct {
	name     string
	what     string // for who reads the table
	load     load.Options
	interval time.Duration
	event    event
}

type event int

const (
	nothing  event = iota
	outage         // the receiver answers 503 for the first half of the time
	slow           // there is a second receiver, which takes slowness for each answer
	starting       // only the time to the first scrape is measured
)

// slowness is how long the slow receiver of two takes for each answer.
const slowness = 2 * time.Second

// scenarios are all, in the order of the tables.
func scenarios() []scenario {
	node := load.Options{Targets: 60, Series: 500}
	exporters := load.Options{Targets: 60, Series: 500, Exporters: true}
	return []scenario{
		{name: "node", what: "a node", load: node, interval: 5 * time.Second},
		{name: "big", what: "ten times as much", load: load.Options{Targets: 300, Series: 1000}, interval: 15 * time.Second},
		{name: "exporters", what: "a node whose targets show what exporters do: families of counters, gauges and histograms", load: exporters, interval: 5 * time.Second},
		{name: "churn", what: "a node on which a tenth of the series are new each minute", load: renewed(node), interval: 5 * time.Second},
		{name: "outage", what: "a node whose receiver answers 503 for the first half of the time, then is well", load: node, interval: 5 * time.Second, event: outage},
		{name: "slow", what: fmt.Sprintf("a node with two receivers, one of which takes %s for each answer", spelled(slowness)), load: node, interval: 5 * time.Second, event: slow},
		{name: "start", what: "from the start of the process to the first request that reaches a target", load: load.Options{Targets: 400, Series: 1}, interval: time.Second, event: starting},
	}
}

// renewed makes a tenth of the series come and go.
func renewed(o load.Options) load.Options {
	o.Churn = o.Series / 10
	o.Series -= o.Churn
	return o
}

// changes are what the user wants otherwise; what is zero stays.
type changes struct {
	targets, series int
	interval        time.Duration
	labels          string
}

// changed is the scenario with other numbers. Series that come and go live for a minute.
func (s scenario) changed(c changes) scenario {
	if !s.load.Exporters {
		s.load.Labels, s.load.Spread = c.labels, true
	}
	if s.event != starting {
		if c.targets > 0 {
			s.load.Targets = c.targets
		}
		if c.series > 0 {
			churns := s.load.Churn > 0
			s.load.Series, s.load.Churn = c.series, 0
			if churns {
				s.load = renewed(s.load)
			}
		}
		if c.interval > 0 {
			s.interval = c.interval
		}
	}
	s.load.Life = max(int(time.Minute/s.interval), 1)
	return s
}

// stretch is how long it is measured, at least as long as wanted: whole intervals, in which each target is scraped equally
// often, whoever scrapes it.
func (s scenario) stretch(wanted time.Duration) time.Duration {
	return (wanted + s.interval - 1) / s.interval * s.interval
}

// describe says how large it is.
func (s scenario) describe() string {
	return fmt.Sprintf("%d targets × %d series, every %s", s.load.Targets, s.load.Series+s.load.Churn, spelled(s.interval))
}

// spelled is a duration as people write it.
func spelled(d time.Duration) string {
	if d > 0 && d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

func names(all []scenario) string {
	var found []string
	for _, s := range all {
		found = append(found, s.name)
	}
	return strings.Join(found, ",")
}

// pick finds scenarios by their names, in the order of all; "" is all.
func pick(all []scenario, only string) ([]scenario, error) {
	if only == "" {
		return all, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == name }) {
			return nil, fmt.Errorf("there is no load %q; there are %s", name, names(all))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s scenario) bool { return !slices.Contains(wanted, s.name) }), nil
}
