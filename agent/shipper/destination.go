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
	intake  *intake // of all
	ledger  *ledger
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

	requests     []request // of each shard
	shards       pace      // only for run
	toldMetadata time.Time // the same

	telling atomic.Bool // metadata is on its way
	tellers sync.WaitGroup

	returns bool   // it was there before
	live    uint64 // generation of this process
}

// start begins to ship, from where the state stands. It must not be called twice.
func (d *destination) start(set *settings) {
	d.set.Store(set)
	d.wake = make(chan struct{}, 1)
	d.closing = make(chan struct{})
	d.done = make(chan struct{})
	d.live, d.plan = d.ledger.from.Generation, d.state.Window
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
	defer d.inherit(ctx)()
	err := d.resume(ctx)
	for err == nil {
		d.sendMetadata(telling)
		var full bool
		var waited time.Duration
		if full, waited, err = d.fill(ctx); err != nil {
			break
		}
		if d.window.points > 0 {
			d.mu.Lock()
			d.intend()
			d.mu.Unlock()
			begun := time.Now()
			if err = d.ship(ctx); err == nil {
				d.shards.shipped(sent{
					shards: len(d.window.shards), points: d.window.points, room: d.window.size(),
					full: full, waited: waited, took: time.Since(begun),
				})
				d.metrics.desires(max(d.shards.shards, d.set.Load().minShards))
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
