// SPDX-License-Identifier: Apache-2.0

// Command bench runs torchbearer and its peers in turn on the same loads, with the same counting receiver, and prints
// what each costs. Only ratios within one run mean anything: machines differ and are noisy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"torchbearer/e2e/process"
)

func main() {
	s := setting{out: os.Stdout, progress: os.Stderr}
	var only string
	var change changes
	flag.StringVar(&only, "loads", "", "only these of the loads, such as node,big (default all of "+names(scenarios())+")")
	flag.IntVar(&change.targets, "targets", 0, "scrape targets (default what the load has)")
	flag.IntVar(&change.series, "series", 0, "series of each target (default what the load has)")
	flag.DurationVar(&change.interval, "interval", 0, "scrape interval (default what the load has)")
	flag.StringVar(&change.labels, "labels", `namespace="shop",pod="checkout-7d9f8b6c5-x2x7k",container="app",method="GET",route="/api/v1/orders",code="200",version="1.42.0"`, "labels on every series, as a target writes them")
	flag.DurationVar(&s.length, "for", time.Minute, "how long each round measures")
	flag.DurationVar(&s.warm, "warm", 20*time.Second, "how long an agent runs before, but at least two scrape intervals")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; the medians are printed")
	flag.StringVar(&s.oldAt, "1.0", "node", "the loads at which Prometheus's agent also sends by Remote Write 1.0")
	flag.StringVar(&s.other, "other", "", "another torchbearer to measure as well, an older one say: its path")
	flag.StringVar(&s.dir, "dir", "", "where the agents write (default the system's temporary folder, or this one when that is in memory)")
	flag.StringVar(&s.profile, "profile", "", "measure only torchbearer, and write a CPU profile of the last round to this file")
	flag.BoolVar(&s.write, "write", false, "write bench/README.md and bench/plot.svg as well")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.choose(only, change)
	if err == nil {
		err = run(ctx, s)
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// setting is what all agents are measured with.
type setting struct {
	scenarios     []scenario
	length, warm  time.Duration
	rounds        int
	oldAt         string
	other         string
	dir           string
	profile       string
	write         bool
	out, progress io.Writer
}

// choose picks the scenarios and changes their loads.
func (s *setting) choose(only string, change changes) error {
	if s.rounds < 1 || s.length < time.Second {
		return errors.New("it takes at least one round of a second")
	}
	if s.profile != "" && only == "" {
		only = "node"
	}
	chosen, err := pick(scenarios(), only)
	if err != nil {
		return err
	}
	for _, one := range chosen {
		s.scenarios = append(s.scenarios, one.changed(change))
	}
	if _, err := pick(scenarios(), s.oldAt); err != nil {
		return err
	}
	return nil
}

// place finds a folder for the agents to write into, and says whether it is on a disk.
func (s *setting) place() (disk bool, err error) {
	if s.dir != "" {
		return process.OnDisk(s.dir)
	}
	s.dir = os.TempDir()
	if disk, err = process.OnDisk(s.dir); disk || err != nil {
		return disk, err
	}
	s.dir = "."
	return process.OnDisk(s.dir)
}

// run measures everything. What an agent failed at is told, and is an error after all others have been measured.
func run(ctx context.Context, s setting) error {
	agents, err := s.agents()
	if err != nil {
		return err
	}
	disk, err := s.place()
	if err != nil {
		return err
	}
	r := report{setting: s, agents: agents, machine: thisMachine(), disk: disk}
	cpus, err := separate()
	if err != nil {
		return err
	}
	r.pinned = cpus.apart()
	for round := range s.rounds {
		for _, load := range s.scenarios {
			for _, agent := range agents {
				if !agent.at(load.name) {
					continue
				}
				measured, err := (&trial{scenario: load, agent: agent, setting: s, cpus: cpus, disk: disk}).run(ctx)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.add(load.name, agent.name, measured, err)
				fmt.Fprintf(s.progress, "round %d, %s, %s: %s\n", round+1, load.name, agent.name, told(measured, err))
			}
		}
	}
	if s.profile != "" {
		return r.failure()
	}
	if _, err := io.WriteString(s.out, r.how()+"\n\n"+r.tables()); err != nil {
		return err
	}
	if s.write && r.failure() == nil {
		return r.write("bench")
	}
	return r.failure()
}

func told(c cost, err error) string {
	if err != nil {
		return err.Error()
	}
	return c.String()
}
