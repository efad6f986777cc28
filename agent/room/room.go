// SPDX-License-Identifier: Apache-2.0

// Package room owns the question whether the process has memory for more
// series. It asks Go's runtime what is in use and what GOMEMLIMIT allows, which
// the start of the process sets a little below the limit of its cgroup; without
// a limit there is always room.
//
// It promises to say no while the collector still has room to work in, also when
// many series come at once, and to say yes again only when a good part is free,
// so that it does not change its mind with each sample. It frees nothing itself,
// starts no goroutine, and never stops the world.
package room

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// closeAt and openAt are parts of the limit that may be in use. What is above
	// closeAt goes to what is not series, such as the answers of targets that are
	// being scraped, to what of a series is made later, and to the collector.
	closeAt = 0.70
	openAt  = 0.60

	// costOfSeries is about what a series takes: its labels, what the scrape, the
	// log and a destination remember of it. It stands for what was created after
	// the last collection, of which alone the runtime knows what is live.
	costOfSeries = 1 << 10

	measureEvery  = time.Second
	measureSeries = 256 // so many new ones are not waited for a second with
)

// Guard measures the memory of the process. Its methods may be called from any
// goroutine.
type Guard struct {
	logger log.Logger
	now    func() time.Time
	closed atomic.Bool
	next   atomic.Int64 // when to measure, by now, in Unix nanoseconds
	nextAt atomic.Int64 // at how many series to measure
	limit  atomic.Int64 // 0 is none

	mu     sync.Mutex // guards the fields below, and read
	read   func() usage
	seen   int64  // how many series were created
	cycle  uint64 // of the collector
	before int64  // seen when that began
}

// New returns a guard, with its metrics in a registry.
func New(logger log.Logger, reg prometheus.Registerer) *Guard {
	return newGuard(logger, reg, newRuntime().read, time.Now)
}

func newGuard(logger log.Logger, reg prometheus.Registerer, read func() usage, now func() time.Time) *Guard {
	g := &Guard{logger: logger, read: read, now: now}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "torchbearer_memory_limit_bytes",
		Help: "Memory that the process means to keep within (GOMEMLIMIT), 0 for no limit; near it new series are refused.",
	}, func() float64 { return float64(g.Limit()) }))
	return g
}

// Limit is what the process means to keep within, in bytes, 0 being no limit.
func (g *Guard) Limit() int64 {
	g.Full(0)
	return g.limit.Load()
}

// Full says whether there is no room for new series, when so many have been
// created.
func (g *Guard) Full(created int64) bool {
	now := g.now().UnixNano()
	if now < g.next.Load() && created < g.nextAt.Load() {
		return g.closed.Load()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now < g.next.Load() && created < g.nextAt.Load() {
		return g.closed.Load() // Somebody else has measured meanwhile.
	}
	g.measure(created)
	g.next.Store(now + int64(measureEvery))
	g.nextAt.Store(g.seen + measureSeries)
	return g.closed.Load()
}

func (g *Guard) measure(created int64) {
	u := g.read()
	g.limit.Store(u.limit)
	if u.limit == 0 {
		g.closed.Store(false)
		return
	}
	g.seen = max(g.seen, created)
	if u.cycle != g.cycle {
		g.cycle, g.before = u.cycle, g.seen
	}
	used := u.live + u.other + costOfSeries*(g.seen-g.before)
	switch part := float64(used) / float64(u.limit); {
	case part >= closeAt && !g.closed.Swap(true):
		level.Warn(g.logger).Log("msg", "hardly any memory is left; new series are refused, those that are being scraped go on",
			"in_use_bytes", used, "limit_bytes", u.limit, "remedy", "give the agent more memory, or have it scrape less; see agent.limits")
	case part < openAt && g.closed.Swap(false):
		level.Info(g.logger).Log("msg", "there is memory for new series again", "in_use_bytes", used, "limit_bytes", u.limit)
	}
}
