// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// patience is how long an agent may take to do what is waited for.
const patience = 3 * time.Minute

// A trial is one agent under one load, once.
type trial struct {
	scenario scenario
	agent    agent
	setting  setting
	cpus     processors
	disk     bool

	fleet        *load.Fleet
	destinations []*receiver.Counter // the second one is slow
	dir, address string
	began        time.Time
	process      *process.Process
}

// run starts everything, lets the agent warm up, measures it, and sees that it delivers all.
func (t *trial) run(ctx context.Context) (result cost, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.setting.warm+t.setting.length+10*t.scenario.interval+3*patience)
	defer cancel()
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.open(ctx); err != nil {
		return result, err
	}
	if t.scenario.event == starting {
		return t.firstScrape(ctx)
	}
	if err := t.sleep(ctx, max(t.setting.warm, 2*t.scenario.interval)); err != nil {
		return result, err
	}
	if result, err = t.measure(ctx); err != nil {
		return result, err
	}
	if err := t.deliver(ctx); err != nil {
		return result, err
	}
	return result, t.audit(&result)
}

// open starts the targets, the receivers and the agent.
func (t *trial) open(ctx context.Context) (err error) {
	if t.dir, err = os.MkdirTemp(t.setting.dir, "torchbearer-bench-"); err != nil {
		return err
	}
	if t.fleet, err = load.Open(t.scenario.load); err != nil { //nolint:contextcheck // Its servers end by Close.
		return err
	}
	receivers := 1
	if t.scenario.event == slow {
		receivers = 2
	}
	w := work{interval: t.scenario.interval, targets: t.fleet.Addresses(), dir: t.dir}
	for range receivers {
		d := receiver.NewCounter(load.Step, load.Prefix)
		if err := d.Listen("127.0.0.1:0"); err != nil { //nolint:contextcheck // Its server ends by Close.
			return err
		}
		t.destinations = append(t.destinations, d)
		w.destinations = append(w.destinations, d.URL())
	}
	if receivers == 2 {
		t.destinations[1].Answer(0, slowness)
	}
	if t.address, err = process.FreeAddress(ctx); err != nil {
		return err
	}
	w.address = t.address
	arguments, err := t.agent.arguments(w)
	if err != nil {
		return err
	}
	return t.cpus.start(func() (err error) {
		t.began = time.Now()
		t.process, err = process.Start(ctx, process.Options{Path: t.agent.path, Args: arguments})
		return err
	})
}

func (t *trial) close() error {
	var errs []error
	if t.process != nil {
		t.process.Close()
	}
	for _, d := range t.destinations {
		errs = append(errs, d.Close())
	}
	if t.fleet != nil {
		errs = append(errs, t.fleet.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(t.dir))...)
}

// sleep waits, and ends early when the agent does.
func (t *trial) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.process.Done():
		return fmt.Errorf("it has ended: %s", t.process.Tail(5))
	}
}

// until polls until check returns nil, or patience is over.
func (t *trial) until(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.process.Until(ctx, check)
}

// firstScrape waits for the first request that reaches a target.
func (t *trial) firstScrape(ctx context.Context) (cost, error) {
	result := unmeasured()
	var first time.Time
	err := t.until(ctx, func() error {
		for i := range t.fleet.Addresses() {
			if scrapes := t.fleet.Scrapes(i); len(scrapes) > 0 && (first.IsZero() || scrapes[0].Began.Before(first)) {
				first = scrapes[0].Began
			}
		}
		if first.IsZero() {
			return errors.New("no target has been scraped")
		}
		return nil
	})
	result.start = first.Sub(t.began).Seconds()
	return result, err
}

// events makes happen what the scenario has of them, for as long as is measured, and puts down what they cost.
func (t *trial) events(ctx context.Context, result *cost) error {
	length := t.scenario.stretch(t.setting.length)
	switch {
	case t.setting.profile != "":
		return t.profile(ctx)
	case t.scenario.event != outage:
		return t.sleep(ctx, length)
	}
	end := time.Now().Add(length)
	t.destinations[0].Answer(http.StatusServiceUnavailable, 0)
	if err := t.sleep(ctx, length/2); err != nil {
		return err
	}
	var shown []int
	for i := range t.fleet.Addresses() {
		shown = append(shown, t.fleet.Answered(i))
	}
	well := time.Now()
	t.destinations[0].Answer(0, 0)
	err := t.until(ctx, func() error {
		for i, address := range t.fleet.Addresses() {
			if k := t.missing(t.destinations[0], address, shown[i]); k > 0 {
				return fmt.Errorf("%s after the receiver was well again scrape %d of target %d lacks samples", patience, k, i)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	result.caughtUp = time.Since(well).Seconds()
	return t.sleep(ctx, max(time.Until(end), 0))
}

// missing is the first scrape up to a number of which not all has come; 0 is none.
func (t *trial) missing(d *receiver.Counter, address string, upTo int) int {
	numbers := d.Of(address)
	for k := 1; k <= upTo; k++ {
		if k >= len(numbers) || numbers[k] < t.fleet.Each() {
			return k
		}
	}
	return 0
}

// lag is the age of the oldest scrape of which not all has come to a destination.
func (t *trial) lag(d *receiver.Counter) time.Duration {
	var oldest time.Duration
	for i, address := range t.fleet.Addresses() {
		scrapes := t.fleet.Scrapes(i)
		if k := t.missing(d, address, len(scrapes)); k > 0 {
			oldest = max(oldest, time.Since(scrapes[k-1].Ended))
		}
	}
	return oldest
}

// profile takes as long as is measured to write a CPU profile of the agent.
func (t *trial) profile(ctx context.Context) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", t.address, t.setting.length.Seconds())
	status, body, err := process.Get(ctx, url)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: %d: %s", url, status, body)
	}
	return os.WriteFile(t.setting.profile, []byte(body), 0o600)
}

// deliver ends the load, waits until all has come, and ends the agent.
func (t *trial) deliver(ctx context.Context) error {
	t.fleet.Pause()
	if err := t.until(ctx, t.fleet.Settled); err != nil {
		return err
	}
	for _, d := range t.destinations {
		d.Answer(0, 0)
	}
	// What has not come by then is counted as lost.
	_ = t.until(ctx, func() error {
		if slices.ContainsFunc(t.destinations, func(d *receiver.Counter) bool { return d.Totals().Samples < t.fleet.Samples() }) {
			return errors.New("samples are missing")
		}
		return nil
	})
	_, err := t.process.Stop(90 * time.Second)
	return err
}
