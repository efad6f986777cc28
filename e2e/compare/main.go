// SPDX-License-Identifier: Apache-2.0

// Command compare runs torchbearer and Prometheus's agent in turn on the same load with the same counting receiver, and
// prints what each costs. Only ratios within one run mean anything: machines differ and are noisy.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
)

func main() {
	var s setting
	flag.IntVar(&s.load.Targets, "targets", 60, "scrape targets")
	flag.IntVar(&s.load.Series, "series", 500, "series of each target")
	flag.DurationVar(&s.interval, "interval", 5*time.Second, "scrape interval")
	flag.DurationVar(&s.length, "for", time.Minute, "how long each round measures")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; the medians are printed")
	flag.StringVar(&s.load.Labels, "labels", `namespace="shop",pod="checkout-7d9f8b6c5-x2x7k",container="app",method="GET",route="/api/v1/orders",code="200",version="1.42.0"`, "labels on every series, as a target writes them")
	flag.BoolVar(&s.old, "1.0", false, "send by Remote Write 1.0 instead of 2.0")
	flag.StringVar(&s.other, "other", "", "another torchbearer to measure as well, an older one say: its path")
	flag.StringVar(&s.profile, "profile", "", "measure only torchbearer, and write a CPU profile of the last round to this file")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "compare: %v\n", err)
		os.Exit(1)
	}
}

// setting is what all agents are measured with.
type setting struct {
	load             load.Options
	interval, length time.Duration
	rounds           int
	other            string
	old              bool
	profile          string
}

func (s setting) protocol() string {
	if s.old {
		return "prometheus.WriteRequest"
	}
	return "io.prometheus.write.v2.Request"
}

// cost is what one round of one agent took.
type cost struct {
	cpu      float64 // microseconds a sample
	resident float64 // MB at the end
	lost     float64 // samples that a target showed and the receiver did not get, or got twice
}

// contestant is an agent and its costs, round by round.
type contestant struct {
	name  string
	path  string
	flags []string
	costs []cost
}

func run(ctx context.Context, s setting) error {
	ours, err := process.Torchbearer()
	if err != nil {
		return err
	}
	theirs, err := process.Neighbour("prometheus")
	if err != nil {
		return err
	}
	all := []*contestant{
		{name: "Prometheus 3.16 agent", path: theirs, flags: []string{"--agent"}},
		{name: "torchbearer", path: ours},
	}
	if s.profile != "" {
		all = all[1:]
	}
	if s.other != "" {
		all = append(all, &contestant{name: "another torchbearer", path: s.other})
	}
	for round := range s.rounds {
		for _, c := range all {
			measured, err := measure(ctx, s, c)
			if err != nil {
				return fmt.Errorf("measure %s: %w", c.name, err)
			}
			c.costs = append(c.costs, measured)
			fmt.Fprintf(os.Stderr, "round %d, %s: %.2f us a sample, %.0f MB, %.0f lost or repeated\n",
				round+1, c.name, measured.cpu, measured.resident, measured.lost)
		}
	}
	fmt.Printf("%d targets x %d series, every %s, %s, medians of %d rounds of %s:\n\n", s.load.Targets, s.load.Series, s.interval, s.protocol(), s.rounds, s.length)
	fmt.Println("| agent | CPU µs a sample | resident MB | samples lost or repeated | CPU ratio | memory ratio |")
	fmt.Println("|---|---|---|---|---|---|")
	base := all[0].median()
	for _, c := range all {
		m := c.median()
		fmt.Printf("| %s | %.2f | %.0f | %.0f | %.2f | %.2f |\n", c.name, m.cpu, m.resident, m.lost, m.cpu/base.cpu, m.resident/base.resident)
	}
	return nil
}

func (c *contestant) median() cost {
	of := func(value func(cost) float64) float64 {
		values := make([]float64, 0, len(c.costs))
		for _, one := range c.costs {
			values = append(values, value(one))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return cost{
		cpu:      of(func(c cost) float64 { return c.cpu }),
		resident: of(func(c cost) float64 { return c.resident }),
		lost:     of(func(c cost) float64 { return c.lost }),
	}
}
