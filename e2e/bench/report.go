// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// report is all that was measured.
type report struct {
	setting setting
	agents  []agent
	machine machine
	pinned  bool // the agents had a processor of their own
	disk    bool // they wrote to a disk
	results []result
}

// result is what one agent took under one load.
type result struct {
	load, agent string
	rounds      []cost
	errs        []error // of the rounds that could not be measured
}

// add takes one round.
func (r *report) add(load, agent string, measured cost, err error) {
	found := r.find(load, agent)
	if found == nil {
		r.results = append(r.results, result{load: load, agent: agent})
		found = &r.results[len(r.results)-1]
	}
	if err != nil {
		found.errs = append(found.errs, fmt.Errorf("measure %s under the load %s: %w", agent, load, err))
		return
	}
	found.rounds = append(found.rounds, measured)
}

// find returns nil when the agent was not measured under the load.
func (r *report) find(load, agent string) *result {
	for i := range r.results {
		if r.results[i].load == load && r.results[i].agent == agent {
			return &r.results[i]
		}
	}
	return nil
}

// of is what an agent took under a load, NaN in all when that is not known.
func (r *report) of(load, agent string) cost {
	if found := r.find(load, agent); found != nil {
		return together(found.rounds)
	}
	return unmeasured()
}

// rig is the most that targets and receivers took of their processors; NaN is not known.
func (r *report) rig() float64 {
	var all []float64
	for _, one := range r.results {
		if most := together(one.rounds).rig; !math.IsNaN(most) {
			all = append(all, most)
		}
	}
	return highest(all)
}

// failure is all that could not be measured; nil is nothing.
func (r *report) failure() error {
	var all []error
	for _, one := range r.results {
		all = append(all, one.errs...)
	}
	return errors.Join(all...)
}

// write puts the report into a folder.
func (r *report) write(dir string) error {
	text, err := r.readme()
	if err != nil {
		return err
	}
	picture, err := r.plot()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "README.md"), []byte(text), 0o644),   //nolint:gosec // It is for all to read.
		os.WriteFile(filepath.Join(dir, "plot.svg"), []byte(picture), 0o644), //nolint:gosec // It is for all to read.
	)
}
