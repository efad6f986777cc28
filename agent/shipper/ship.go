// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// ship sends what is not answered of the window, by the newest settings each
// time there are new ones. It returns an error only when ctx is done.
func (d *destination) ship(ctx context.Context) error {
	for {
		set := d.set.Load()
		d.mu.Lock()
		d.window.resolve(set, d.cache.builder)
		d.mu.Unlock()
		err := d.shipBy(ctx, set)
		if !errors.Is(err, errReplaced) {
			return err
		}
	}
}

func (d *destination) shipBy(ctx context.Context, set *settings) error {
	if len(d.window.shards) == 1 {
		return d.shipShard(ctx, set, 0)
	}
	errs := make([]error, len(d.window.shards))
	var shards sync.WaitGroup
	for i := range d.window.shards {
		shards.Go(func() { errs[i] = d.shipShard(ctx, set, i) })
	}
	shards.Wait()
	return errors.Join(errs...)
}

// shipShard sends the requests of a shard in turn.
func (d *destination) shipShard(ctx context.Context, set *settings, shard int) error {
	var points []point
	for {
		var done int
		points, done = d.window.request(shard, set, points)
		if done == 0 {
			return nil
		}
		group(points)
		if len(points) > 0 {
			if err := d.sender.deliver(ctx, set, points); err != nil {
				return err
			}
		}
		d.answered(shard, done)
	}
}

// answered journals that a request has its answer, unless that of the window
// follows at once.
func (d *destination) answered(shard, done int) {
	d.journalling.Lock()
	defer d.journalling.Unlock()
	w := d.window
	w.plan.Done[shard] = done
	left := w.left()
	if d.state.Window == nil || left == 0 {
		return
	}
	d.state.Window.Done[shard] = done
	d.state.Window.Points = left
	d.writeState()
}

// save changes the state and journals it.
func (d *destination) save(change func(*state)) {
	d.journalling.Lock()
	defer d.journalling.Unlock()
	before := d.state
	change(&d.state)
	if before != d.state {
		d.writeState()
	}
}

// writeState journals the state. Without a journal shipping goes on: a restart
// then sends again what it cannot know was sent. The caller holds journalling.
func (d *destination) writeState() {
	if d.journal == nil {
		return
	}
	err := d.journal.write(d.state)
	if now := time.Now(); err == nil && now.Sub(d.synced) >= syncEvery {
		d.synced = now
		err = d.journal.sync()
	}
	if err == nil {
		d.failing = false
		return
	}
	d.metrics.all.journalFailed.Inc()
	if !d.failing {
		level.Error(d.logger).Log("msg", "the journal cannot be written; after a restart now some samples would be sent again", "err", err)
	}
	d.failing = true
}
