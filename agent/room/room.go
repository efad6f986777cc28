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
	"math"
	"runtime/metrics"
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
	logger  log.Logger
	read    func([]metrics.Sample)
	now     func() time.Time
	closed  atomic.Bool
	next    atomic.Int64 // when to measure, by now, in Unix nanoseconds
	nextAt  atomic.Int64 // at how many series to measure
	limit   atomic.Int64 // 0 is none
	mu      sync.Mutex   // guards the fields below
	samples []metrics.Sample
	seen    int64  // how many series were created
	cycle   uint64 // of the collector
	before  int64  // seen when that began
}

// New returns a guard, with its metrics in a registry.
func New(logger log.Logger, reg prometheus.Registerer) *Guard {
	return newGuard(logger, reg, metrics.Read, time.Now)
}

// The names of the runtime's metrics, in the order of Guard.samples.
const (
	indexLimit = iota
	indexCycles
	indexLive
	indexTotal
	indexReleased
	indexFree
	indexObjects
	indexUnused
)

func names() []string {
	return []string{
		"/gc/gomemlimit:bytes", "/gc/cycles/total:gc-cycles", "/gc/heap/live:bytes", "/memory/classes/total:bytes",
		"/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes",
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes",
	}
}

func newGuard(logger log.Logger, reg prometheus.Registerer, read func([]metrics.Sample), now func() time.Time) *Guard {
	g := &Guard{logger: logger, read: read, now: now}
	for _, name := range names() {
		g.samples = append(g.samples, metrics.Sample{Name: name})
	}
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
	g.nextAt.Store(max(created, g.nextAt.Load()-measureSeries) + measureSeries)
	return g.closed.Load()
}

func (g *Guard) measure(created int64) {
	g.read(g.samples)
	limit := g.value(indexLimit)
	if limit == 0 || limit >= math.MaxInt64 {
		g.limit.Store(0)
		g.closed.Store(false)
		return
	}
	g.limit.Store(int64(limit))
	g.seen = max(g.seen, created)
	if cycle := g.value(indexCycles); cycle != g.cycle {
		g.cycle, g.before = cycle, g.seen
	}
	fresh := costOfSeries * (g.seen - g.before)
	heap := g.value(indexReleased) + g.value(indexFree) + g.value(indexObjects) + g.value(indexUnused)
	used := float64(g.value(indexLive)) + float64(fresh) + float64(g.value(indexTotal)-min(heap, g.value(indexTotal)))
	switch part := used / float64(limit); {
	case part >= closeAt && !g.closed.Swap(true):
		level.Warn(g.logger).Log("msg", "hardly any memory is left; new series are refused, those that are being scraped go on",
			"in_use_bytes", int64(used), "limit_bytes", limit, "remedy", "give the agent more memory, or have it scrape less; see agent.limits")
	case part < openAt && g.closed.Swap(false):
		level.Info(g.logger).Log("msg", "there is memory for new series again", "in_use_bytes", int64(used), "limit_bytes", limit)
	}
}

// value is 0 for what this version of Go does not tell.
func (g *Guard) value(index int) uint64 {
	if v := g.samples[index].Value; v.Kind() == metrics.KindUint64 {
		return v.Uint64()
	}
	return 0
}
