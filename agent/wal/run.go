// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"sync"
	"time"

	"torchbearer/agent/logged"
)

const (
	// All at once: to wake an idle process costs more than what is done then.
	// What is new in the log is looked at as often, and at once when a segment is
	// begun.
	syncEvery  = time.Second
	lookEvery  = time.Second
	keepEvery  = 5 * time.Second        // and at once when a segment is begun
	retryEvery = 100 * time.Millisecond // of linking what tsdb/agent waits for
	ageEvery   = 15 * time.Second
	// settle is how long nothing is freed if nobody claims anything: those who
	// will may not have begun.
	settle = time.Minute
)

// Run holds the files of the log as they come, brings them to the disk, and
// frees what need not or must not be kept, until ctx is done. Then everything
// that was committed is on the disk.
func (l *Log) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	var syncing episode
	wait.Go(func() {
		every(ctx, syncEvery, nil, func(bool) { l.sync(&syncing) })
	})
	wait.Go(func() {
		l.keep()
		aged := l.opts.Now()
		kept := aged
		every(ctx, lookEvery, l.hold.rolled, func(signalled bool) {
			l.look()
			l.recovered()
			now := l.opts.Now()
			if signalled || now.Sub(kept) >= keepEvery || now.Before(kept) {
				l.keep()
				kept = now
			}
			if now.Sub(aged) >= ageEvery || now.Before(aged) {
				l.age(now)
				aged = now
			}
			l.metrics.series.Set(float64(l.table.count.Load()))
		})
	})
	wait.Wait()
	l.look()
	l.sync(&syncing)
	return nil
}

// every calls f at an interval, and for each signal, until ctx is done.
func every(ctx context.Context, interval time.Duration, signal <-chan struct{}, f func(signalled bool)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f(false)
		case <-signal:
			f(true)
		}
	}
}

// age forgets series that neither tsdb/agent nor what is not sent yet needs.
func (l *Log) age(now time.Time) {
	newest := l.hold.newest()
	needed := l.claims.lowest(newest)
	if needed.Generation < newest.Generation {
		needed = logged.Position{} // Nothing of this generation was read.
	}
	l.table.rest(now, time.Duration(l.admission.idle.Load()))
	l.table.age(now, newest.Segment, l.opts.MaxTime, needed.Segment)
	l.admission.age(now)
	l.jobs.age(now)
}

func (l *Log) sync(e *episode) {
	err := l.hold.sync()
	if err != nil {
		l.metrics.syncFailed.Inc()
	}
	e.report(l.opts.Logger, "bringing the log to the disk", err)
}
