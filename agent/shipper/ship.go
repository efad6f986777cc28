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
		d.window.resolve(set, d.cache.resolver)
		d.window.open = d.window.left(set)
		err := d.shipBy(ctx, set)
		if !errors.Is(err, errReplaced) {
			d.sender.forget()
			return err
		}
	}
}

// forShards are n of requests, for the memory in them, and new ones where those
// are too few. Of more nothing is kept.
func forShards(n int, requests []request) []request {
	if n <= len(requests) {
		clear(requests[n:])
		return requests[:n]
	}
	return append(requests, make([]request, n-len(requests))...)
}

func (d *destination) shipBy(ctx context.Context, set *settings) error {
	d.requests = forShards(len(d.window.shards), d.requests)
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
	r := &d.requests[shard]
	for {
		d.window.next(shard, set, r)
		if r.done == 0 {
			d.check(shard)
			return nil
		}
		var f fates
		if d.window.again && len(r.points) > fewPoints {
			r.points = d.sender.grouping.group(r.points, d.window.renewed)
		}
		if len(r.points) > 0 {
			if err := d.sender.deliver(ctx, set, r.points, &f); err != nil {
				p := &d.window.progress[shard]
				p.replaced = true
				p.early.add(&f)
				return err
			}
		}
		r.bounds.keep()
		if !d.window.progress[shard].replaced {
			f.fit(r.kept - r.left.classicNot)
		}
		f.left.add(&r.left)
		d.settle(shard, set, &f)
		d.answered(shard, r)
	}
}

// settle tells the ledger what became of points of a shard.
func (d *destination) settle(shard int, set *settings, f *fates) {
	p := &d.window.progress[shard]
	f.add(&p.early)
	p.early = fates{}
	p.settled += f.decided() + f.left.total()
	d.ledger.settle(f, set)
}

// check sees to it that each point of a shard has one fate, if the settings were
// replaced while it was being sent: what is made again may be cut, or converted,
// otherwise.
func (d *destination) check(shard int) {
	p, points := &d.window.progress[shard], d.window.shards[shard]
	if !p.replaced {
		return
	}
	p.replaced = false
	d.settle(shard, d.set.Load(), &fates{})
	d.ledger.correct(p.settled - standing(points[min(p.begun, len(points)):]))
}

// answered journals that a request has its answer, unless that of the window
// follows at once.
func (d *destination) answered(shard int, r *request) {
	d.journalling.Lock()
	defer d.journalling.Unlock()
	w := d.window
	w.plan.Done[shard] = r.done
	w.open -= r.kept
	if d.state.Window == nil || w.open == 0 {
		return
	}
	d.state.Window.Done[shard] = r.done
	d.state.Window.Points = w.open
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
	if err == nil {
		err = d.syncJournal()
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

// syncJournal brings the journal to the disk, if that is due. The caller holds
// journalling.
func (d *destination) syncJournal() error {
	now := time.Now()
	if now.Sub(d.synced) < syncEvery {
		return nil
	}
	d.synced = now
	if err := d.journal.sync(); err != nil {
		return err
	}
	d.durable = d.state.Sent
	return nil
}

// release lets go of the log up to where the journal stands on the disk: after a
// power cut the next process begins there, and what it finds gone is lost to it.
// It says whether that is all that is sent.
func (d *destination) release() (all bool) {
	d.journalling.Lock()
	to := d.state.Sent
	if d.journal != nil && !d.failing && d.durable != to && d.syncJournal() == nil {
		to = d.durable
	}
	all = to == d.state.Sent
	d.journalling.Unlock()
	d.claim.Move(to)
	return all
}
