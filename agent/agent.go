// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"torchbearer/agent/room"
	"torchbearer/agent/scraper"
	"torchbearer/agent/shipper"
	"torchbearer/agent/targets"
	"torchbearer/agent/wal"
	"torchbearer/config"
)

// syncGrace is how long readiness waits for every discovery to send targets.
// One that finds nothing never sends any.
const syncGrace = 10 * time.Second

// Options say what the agent works with. Logger, Library, Registry, ConfigFile
// and WAL.Dir must be set.
type Options struct {
	Logger   log.Logger
	Library  *slog.Logger // for Prometheus's libraries
	Registry *prometheus.Registry

	ConfigFile     string
	Config         config.Options
	ReloadInterval time.Duration // of looking at the config file; 0 never looks
	FlushDeadline  time.Duration
	Heartbeat      time.Duration // how often the agent logs how it is; 0 never does

	WAL     wal.Options     // Dir and what else is not the same for all stages
	Scraper scraper.Options // the same
	Targets targets.Options // the same

	// SetLogLevel is called with runtime.log_level of each config; nil ignores it.
	SetLogLevel func(string)
}

// Agent is the running whole. Its methods may be called concurrently, Run once.
type Agent struct {
	opts    Options
	logger  log.Logger
	metrics *metrics
	store   store

	shipper *shipper.Shipper
	wal     *wal.Log
	scraper *scraper.Scraper
	targets *targets.Targets
	stages  []stage // in the order of Apply

	collector *collector

	reloading chan struct{} // holds one: a reload is under way
	asking    chan struct{} // holds one: targets are asked for an explanation
	checking  chan struct{} // the same of a dry run
	begun     chan struct{} // closed when the first config is applied
	stopping  chan struct{} // closed when reloads are refused
	opened    bool          // the log; only for the goroutine of Run
	endHold   func() error  // ends keeping the log; nil before; the same

	disk onDisk // the config files, for those who ask

	mu        sync.Mutex     // guards the fields below
	first     *config.Source // what running was read from at the start
	running   *config.Config
	text      func() string // of running
	hash      string        // of the files of running
	attempted string        // hash of the source tried last
	trouble   error         // why the config file is not the running config, or nil
	lastGood  bool          // running is the last good one, kept from an earlier time
	applied   time.Time     // when the first config was applied
	synced    bool          // the first targets came
}

// New reads the config, or the last good one if the file is bad, and assembles
// the stages, sink first. If it is the config that is bad, the error has
// BadConfig. Run or Close must be called.
func New(opts Options) (_ *Agent, err error) {
	a := &Agent{
		opts:    opts,
		logger:  log.With(opts.Logger, "component", "agent"),
		metrics: newMetrics(opts.Registry),
		store:   store{dir: opts.WAL.Dir},

		collector: newCollector(),

		reloading: make(chan struct{}, 1),
		asking:    make(chan struct{}, 1),
		checking:  make(chan struct{}, 1),
		begun:     make(chan struct{}),
		stopping:  make(chan struct{}),
		disk:      onDisk{began: time.Now()},
	}
	if err := a.loadFirst(); err != nil {
		return nil, err
	}
	a.text = sync.OnceValue(a.running.String)
	a.shipper = shipper.New(shipper.Options{
		Dir:               opts.WAL.Dir,
		Logger:            log.With(opts.Logger, "component", "shipper"),
		Registry:          opts.Registry,
		Log:               (*source)(a),
		FlushDeadline:     opts.FlushDeadline,
		Retention:         opts.WAL.MaxAge,
		TypeAndUnitLabels: opts.Scraper.TypeAndUnitLabels,
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if err := a.assemble(); err != nil {
		return nil, err
	}
	a.stages = []stage{
		{"shipper", a.shipper.Check, a.shipper.Apply},
		{"wal", nil, a.applyLimits},
		{"scraper", a.scraper.Check, a.scraper.Apply},
		{"targets", nil, a.targets.Apply},
		{"collector", nil, a.collector.apply},
		{"log level", nil, a.applyLogLevel},
	}
	return a, nil
}

// assemble makes the stages before the shipper, each with its sink.
func (a *Agent) assemble() error {
	opts := &a.opts
	walOpts := opts.WAL
	walOpts.Logger = log.With(opts.Logger, "component", "wal")
	walOpts.Library = opts.Library.With("component", "wal")
	walOpts.Registry = opts.Registry
	walOpts.Follower = a.shipper
	memory := room.New(log.With(opts.Logger, "component", "memory"), opts.Registry)
	walOpts.Full = memory.Full
	a.wal = wal.New(walOpts)
	scraperOpts := opts.Scraper
	scraperOpts.Library = opts.Library.With("component", "scraper")
	scraperOpts.Registry = opts.Registry
	scraperOpts.Sink = a.wal
	scraperOpts.Memory = memory.Limit
	scraperOpts.Admit = func(job string) (done func(), ok bool) { return a.targets.Admit(job) }
	var err error
	if a.scraper, err = scraper.New(scraperOpts); err != nil {
		return err
	}
	targetsOpts := opts.Targets
	targetsOpts.Logger = log.With(opts.Logger, "component", "targets")
	targetsOpts.Library = opts.Library.With("component", "targets")
	targetsOpts.Registry = opts.Registry
	if a.targets, err = targets.New(targetsOpts); err != nil {
		return err
	}
	return nil
}

// Run opens the log, applies the config and works until ctx is done, then stops
// from the source on and sends what is logged, for at most the flush deadline.
// It returns nil after a normal stop, whatever could be sent by then.
func (a *Agent) Run(ctx context.Context) error {
	if opened, err := a.open(ctx); !opened {
		close(a.stopping)
		return errors.Join(err, a.closeSinks(context.WithoutCancel(ctx)))
	}
	if err := a.targets.Locate(ctx); err != nil {
		close(a.stopping)
		if ctx.Err() != nil {
			err = nil // A normal stop.
		}
		return errors.Join(err, a.closeSinks(context.WithoutCancel(ctx)))
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	discovered, scraped := make(chan error, 1), make(chan error, 1)
	go func() { discovered <- a.targets.Run(work) }()
	go func() { scraped <- a.scraper.Run(a.targets.Updates()) }()

	err := a.applyFirst()
	endBeat := func() {}
	if err == nil {
		endBeat = a.beat(ctx)
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		if err == nil {
			a.watch(ctx) // A reload waits for targets that hang; a stop must not.
		}
	}()
	if err == nil {
		a.work(ctx)
	}

	level.Info(a.logger).Log("msg", "stopping", "flush_deadline", a.opts.FlushDeadline)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.FlushDeadline)
	defer cancel()
	stop() // First of all: another agent may take the lease.
	if a.endReloads(part(deadline, a.opts.FlushDeadline/4)) {
		<-looked
	}
	err = errors.Join(err, ended(deadline, "service discovery", discovered), ended(deadline, "taking targets", scraped))
	if closeErr := a.scraper.Close(part(deadline, a.opts.FlushDeadline/2)); closeErr != nil {
		level.Warn(a.logger).Log("msg", "scraping was cut off", "err", closeErr)
	}
	endBeat()
	err = errors.Join(err, a.closeSinks(deadline))
	level.Info(a.logger).Log("msg", "stopped")
	return err
}

// part is the first part of what is left until the deadline of ctx.
func part(ctx context.Context, length time.Duration) context.Context {
	short, cancel := context.WithTimeout(ctx, length)
	context.AfterFunc(ctx, cancel) // The deadline of ctx comes soon, or its cancel.
	return short
}

// ended waits for the end of what reports it on done, until ctx is done.
func ended(ctx context.Context, what string, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", what, ctx.Err())
	}
}

// open opens the log. An end of ctx meanwhile is a normal stop: the reading
// cannot be broken off, it ends with the process.
func (a *Agent) open(ctx context.Context) (opened bool, err error) {
	done := make(chan error, 1)
	go func() { done <- a.wal.Open() }()
	select {
	case err := <-done:
		if a.opened = err == nil; a.opened {
			a.keep(context.WithoutCancel(ctx))
		}
		return a.opened, err
	case <-ctx.Done():
		return false, nil
	}
}

// keep keeps the log until endHold is called.
func (a *Agent) keep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.wal.Run(ctx) }()
	a.endHold = func() error {
		cancel()
		return <-ended
	}
}

// Close closes what New made, for when Run is never called.
func (a *Agent) Close() error { return a.closeSinks(context.Background()) }

// closeSinks ends keeping the log, then what reads it, then unlocks it: another
// agent must not begin to ship the same before. That not everything could be
// sent in time is logged by the shipper, and no reason to fail: it stays.
func (a *Agent) closeSinks(ctx context.Context) error {
	var err error
	if a.opened {
		err = a.endHold()
	}
	if flushErr := a.shipper.Close(ctx); flushErr != nil && !errors.Is(flushErr, shipper.ErrDeadline) {
		err = errors.Join(err, flushErr)
	}
	if a.opened {
		err = errors.Join(err, a.wal.Close())
	}
	return err
}
