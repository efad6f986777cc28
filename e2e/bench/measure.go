// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// reading is what counters say at one moment.
type reading struct {
	at      time.Time
	cpu     time.Duration
	rig     time.Duration // processor time of this process
	slept   int           // how often a thread went to sleep
	written int           // bytes to disk
	shown   int           // samples
	came    int           // samples, to the first destination
	wire    int           // bytes, to it
}

func (t *trial) read() (r reading, err error) {
	r.at = time.Now()
	if r.cpu, err = t.process.CPU(); err != nil {
		return r, err
	}
	if r.slept, err = t.process.Slept(); err != nil {
		return r, err
	}
	if t.disk {
		if r.written, err = t.process.Written(); err != nil {
			return r, err
		}
	}
	var usage unix.Rusage
	if err = unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return r, fmt.Errorf("find out what the rig took: %w", err)
	}
	r.rig = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	totals := t.destinations[0].Totals()
	r.shown, r.came, r.wire = t.fleet.Samples(), totals.Samples, totals.Bytes
	return r, nil
}

// measure lets the scenario's events happen and reads the counters before and after them.
func (t *trial) measure(ctx context.Context) (cost, error) {
	result := unmeasured()
	before, err := t.read()
	if err != nil {
		return result, err
	}
	w := watch{trial: t, end: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	err = t.events(ctx, &result)
	close(w.end)
	<-w.ended
	if err = errors.Join(err, w.err); err != nil {
		return result, err
	}
	after, err := t.read()
	if err != nil {
		return result, err
	}
	peak, err := t.process.PeakMemory()
	if err != nil {
		return result, err
	}
	shown, came := float64(after.shown-before.shown), float64(after.came-before.came)
	if shown == 0 || came == 0 {
		return result, fmt.Errorf("the targets showed %.0f samples and the receiver got %.0f", shown, came)
	}
	result.cpu = (after.cpu - before.cpu).Seconds() * 1e6 / shown
	result.wire = float64(after.wire-before.wire) / came
	if t.disk {
		result.disk = float64(after.written-before.written) / shown
	}
	took := after.at.Sub(before.at)
	due := float64(t.scenario.load.Targets*t.fleet.Each()) * float64(took) / float64(t.scenario.interval)
	result.sleeps = float64(after.slept-before.slept) / took.Seconds()
	result.work = shown / due
	result.rig = (after.rig - before.rig).Seconds() / took.Seconds() / float64(runtime.GOMAXPROCS(0))
	result.peak = float64(peak) / 1e6
	result.resident, result.anonymous = median(w.resident)/1e6, median(w.anonymous)/1e6
	if t.scenario.event == slow {
		result.behind, result.behindSlow = w.behind(0), w.behind(1)
	}
	return result, nil
}

// audit compares what the targets have shown in all with what has come.
func (t *trial) audit(result *cost) error {
	result.lost, result.repeated, result.disorder, result.altered = 0, 0, 0, 0
	for i, d := range t.destinations {
		totals := d.Totals()
		if totals.Wrong != "" {
			return fmt.Errorf("receiver %d could not read all: %s", i, totals.Wrong)
		}
		result.repeated += float64(totals.Repeats)
		result.disorder += float64(totals.Disorder)
		result.altered += float64(totals.Altered)
		surplus := totals.Samples
		for target, address := range t.fleet.Addresses() {
			numbers := d.Of(address)
			for k := 1; k <= t.fleet.Answered(target); k++ {
				came := 0
				if k < len(numbers) {
					came = numbers[k]
				}
				result.lost += float64(t.fleet.Each() - min(came, t.fleet.Each()))
				surplus -= min(came, t.fleet.Each())
			}
		}
		result.repeated += float64(surplus)
	}
	return nil
}

// watch looks at the memory of an agent once a second, and at how far its destinations are behind.
type watch struct {
	trial      *trial
	end, ended chan struct{}

	// To be read when it has ended.
	resident, anonymous []float64
	lags                [][]float64 // by time and destination, in seconds
	err                 error
}

func (w *watch) run() {
	defer close(w.ended)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if w.err = w.look(); w.err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-w.end:
			return
		}
	}
}

func (w *watch) look() error {
	resident, anonymous, err := w.trial.process.Footprint()
	if err != nil {
		return err
	}
	w.resident = append(w.resident, float64(resident))
	w.anonymous = append(w.anonymous, float64(anonymous))
	if w.trial.scenario.event != slow {
		return nil
	}
	var lags []float64
	for _, d := range w.trial.destinations {
		lags = append(lags, w.trial.lag(d).Seconds())
	}
	w.lags = append(w.lags, lags)
	return nil
}

// behind is the largest lag of a destination in the last ten seconds, as it goes up and down with each request.
func (w *watch) behind(destination int) float64 {
	worst := 0.0
	for _, lags := range w.lags[max(len(w.lags)-10, 0):] {
		worst = max(worst, lags[destination])
	}
	return worst
}

// median is NaN of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return none()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
