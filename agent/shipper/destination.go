// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// syncEvery is how often a journal is brought to the disk: what a power cut
// takes of it is sent again.
const syncEvery = time.Second

// lookEvery is how often the log is looked at when nobody tells that it has
// grown: what is there may not have been readable when it was told of.
const lookEvery = 5 * time.Second

// destination ships the log to one remote_write: window after window, each
// journalled before it is sent and left behind when all of it is answered.
type destination struct {
	logger  log.Logger
	log     Log
	logged  *atomic.Int64 // points committed, by all
	sender  *sender
	metrics *destinationMetrics
	set     atomic.Pointer[settings]

	wake    chan struct{} // holds one: the log has grown by what is wanted
	wanted  atomic.Int64  // points to be logged before it is worth while to wake
	closing chan struct{} // closed when only what is left is to be sent
	done    chan struct{} // closed when run has ended
	stop    context.CancelFunc

	// mu guards what reads the log: the budget reads on in run's place what it
	// takes from it.
	mu     sync.Mutex
	reader Reader
	ahead  *logged.Batch // read, for the next window
	spare  *logged.Batch
	skip   *skip   // where to go on after ahead, nil in place
	gap    bool    // what is read next does not follow what was read last
	plan   *intent // the window of the process before this one, until it is cut again
	ended  bool
	// filling is that the window may still grow; else it is journalled, or empty.
	filling bool
	cache   *seriesCache // only for run
	window  *window
	claim   Claim

	journalling sync.Mutex // guards the fields below
	journal     *journal   // nil when none could be made
	state       state
	synced      time.Time
	durable     logged.Position // state.Sent when it was synced last
	failing     bool            // the journal; logged once

	makers       []maker   // of each shard
	shards       pace      // only for run
	toldMetadata time.Time // the same

	telling atomic.Bool // metadata is on its way
	tellers sync.WaitGroup

	returns bool            // it was there before
	live    uint64          // generation of this process
	from    logged.Position // what is logged from there on is counted as pending
	before  int64           // points logged before that
	handled atomic.Int64
}

// start begins to ship, from where the state stands. It must not be called twice.
func (d *destination) start(set *settings) {
	d.set.Store(set)
	d.wake = make(chan struct{}, 1)
	d.closing = make(chan struct{})
	d.done = make(chan struct{})
	d.from, d.before = d.log.End(), d.logged.Load()
	d.live, d.plan = d.from.Generation, d.state.Window
	d.cache = newSeriesCache()
	d.window = &window{}
	d.mu.Lock() // giveUp may be called as soon as there is a claim.
	d.claim = d.log.Claim(d.state.Sent, d.giveUp)
	d.reader = d.log.Read(d.state.Sent)
	d.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() {
		defer close(d.done)
		d.run(ctx)
	}()
}

// run ships until ctx is done, or all is shipped once it is closing.
func (d *destination) run(ctx context.Context) {
	telling, stopTelling := context.WithCancel(ctx)
	defer d.endTelling(stopTelling)
	err := d.resume(ctx)
	for err == nil {
		d.sendMetadata(telling)
		var full, waited bool
		if full, waited, err = d.fill(ctx); err != nil {
			break
		}
		if d.window.points > 0 {
			d.mu.Lock()
			d.intend()
			d.mu.Unlock()
			begun := time.Now()
			if err = d.ship(ctx); err == nil {
				d.shards.shipped(d.window.points, full, waited, time.Since(begun))
			}
		}
		if err == nil {
			d.advance()
		}
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		level.Error(d.logger).Log("msg", "shipping ended; this is a bug", "err", err)
	}
}

// next returns the next record, or nil when there is none for now. The caller
// holds mu.
func (d *destination) next() *logged.Batch {
	if b := d.ahead; b != nil {
		d.ahead = nil
		return b
	}
	if s := d.skip; s != nil {
		_ = d.reader.Close() // It was only read.
		d.reader, d.skip, d.gap = s.reader, nil, true
		if s.ahead != nil {
			return s.ahead
		}
	}
	b := d.spare
	if b == nil {
		b = &logged.Batch{}
	}
	d.spare = nil
	if !d.reader.Next(b) {
		d.spare = b
		return nil
	}
	return b
}

// take puts a record into the window. The caller holds mu.
func (d *destination) take(b *logged.Batch, set *settings) {
	d.window.add(b, set, d.cache, d.reader.Series)
	b.Reset()
	d.spare = b
}

// fill reads the next window: as many records as a request per shard takes, or
// what came within the batch deadline. It says whether the window is full, and
// whether the log had not all of it at once. io.EOF is that all is shipped and
// the destination is closing.
func (d *destination) fill(ctx context.Context) (full, waited bool, err error) {
	set := d.set.Load()
	d.open(set)
	var settled <-chan time.Time
	// From when the window is there, not from its first record, as Prometheus does
	// it: what comes after a while without anything need not wait as long.
	deadline := time.NewTimer(set.batchDeadline)
	defer deadline.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		// Whatever comes from here on begins a window, and wakes. One that has
		// begun has time until it is full, or its deadline.
		d.wanted.Store(1)
		committed := d.logged.Load()
		full, points := d.read(set)
		if full {
			return true, waited, nil
		}
		select {
		case <-d.closing:
			// Once more: the last records may have come after the look above.
			if full, points = d.read(set); points == 0 && !full {
				d.advance()
				return false, waited, io.EOF
			}
			return full, waited, nil
		default:
		}
		if points == 0 {
			if !d.advance() && settled == nil {
				settled = time.After(syncEvery)
			}
			d.open(set)
			d.handled.Store(committed - d.before) // All of it: the log has no more.
		} else {
			d.wanted.Store(int64(d.window.room()))
		}
		waited = true
		select {
		case <-ctx.Done():
			return false, waited, ctx.Err()
		case <-deadline.C:
			if points > 0 { // And what has come since, which did not wake.
				full, _ = d.read(set)
				return full, waited, nil
			}
			deadline.Reset(set.batchDeadline)
		case <-d.wake:
		case <-look.C:
		case <-settled:
			settled = nil
		case <-d.closing:
		case <-set.replaced:
			if set = d.set.Load(); points > 0 {
				d.mu.Lock()
				d.window.resolve(set, d.cache.builder)
				d.mu.Unlock()
			}
		}
	}
}

// open begins an empty window.
func (d *destination) open(set *settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cache.sweep(d.window.number, d.window.points)
	d.window.reset(d.position(), d.shards.next(set), set.perRequest)
	d.filling = true
}

// position is where the next window begins. The caller holds mu.
func (d *destination) position() logged.Position {
	switch {
	case d.ahead != nil:
		return d.ahead.Begin
	case d.skip != nil:
		return d.skip.position()
	}
	return d.reader.Position()
}

// read takes into the window what the log has, and says whether that is all
// that the window is to have.
func (d *destination) read(set *settings) (full bool, points int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.window
	if !d.filling {
		return true, w.points // giveUp has ended it.
	}
	d.cache.now = time.Now().UnixMilli()
	for {
		b := d.next()
		if b == nil {
			if w.points == 0 {
				w.end = d.position()
			}
			return false, w.points
		}
		other := b.Generation != d.cache.generation
		if w.points > 0 && (other || d.gap || b.Points() > 0 && w.full(b.Points())) {
			d.ahead = b
			return true, w.points
		}
		if other || d.gap {
			d.cache.enter(b.Generation)
			d.gap, w.begin = false, b.Begin
		}
		d.take(b, set)
	}
}

// intend journals how the window is cut, before anything of it is sent. The
// caller holds mu.
func (d *destination) intend() {
	w := d.window
	d.filling = false
	w.open = w.left(d.set.Load())
	w.plan.End, w.plan.Points, w.plan.Cut = w.end, w.open, w.cut()
	d.save(func(s *state) {
		*s = state{identity: s.identity, Sent: w.begin, Window: &w.plan}.clone()
	})
}

// advance leaves the window behind, and says whether all of the log that is sent
// may be freed already.
func (d *destination) advance() (released bool) {
	d.mu.Lock()
	to := d.window.end
	if d.window.points == 0 {
		to = d.position()
	}
	d.mu.Unlock()
	d.save(func(s *state) {
		if s.Sent.Before(to) || s.Window != nil {
			s.Sent, s.Window = to, nil
		}
	})
	released = d.release()
	d.note(d.window)
	return released
}
