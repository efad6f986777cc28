// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"sync"
	"time"

	"torchbearer/agent/status"
)

const (
	historyEvery  = 10 * time.Second
	historyLength = 361 // an hour, both ends included
	historyMost   = 64  // destinations; others have no graphs
)

// point is how a destination was at a moment.
type point struct {
	at                     time.Time
	pending, sent, scraped int64
	lost                   int64
}

// history remembers how each destination was for the last hour.
type history struct {
	mu    sync.Mutex
	rings map[string]*ring
}

// ring has the last points, the oldest at next once it is full.
type ring struct {
	points []point
	next   int
}

// run looks each ten seconds until ctx is done.
func (h *history) run(ctx context.Context, ask func() []status.Destination) {
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	for {
		h.note(time.Now(), ask())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// note adds a point for each destination, and forgets those that are no more.
func (h *history) note(now time.Time, destinations []status.Destination) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rings := make(map[string]*ring, len(destinations))
	for i := range destinations[:min(len(destinations), historyMost)] {
		d := &destinations[i]
		r := h.rings[d.Name]
		if r == nil {
			r = &ring{}
		}
		r.add(point{
			at: now, pending: d.Ledger.Pending, sent: d.Ledger.Sent, scraped: d.Ledger.Scraped, lost: total(d.Ledger.Lost),
		})
		rings[d.Name] = r
	}
	h.rings = rings
}

func (r *ring) add(p point) {
	if len(r.points) < historyLength {
		r.points = append(r.points, p)
		return
	}
	r.points[r.next] = p
	r.next = (r.next + 1) % historyLength
}

// of is what is known of a destination, the oldest first.
func (h *history) of(name string) []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rings[name]
	if r == nil {
		return nil
	}
	return append(append([]point{}, r.points[r.next:]...), r.points[:r.next]...)
}

// lost is what each destination has lost within the last hour.
func (h *history) lost(destinations []status.Destination) map[string]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := make(map[string]int64, len(destinations))
	for i := range destinations {
		d := &destinations[i]
		sum := total(d.Ledger.Lost)
		if r := h.rings[d.Name]; r != nil && len(r.points) == historyLength {
			sum -= r.points[r.next].lost // Before that, the process is no hour old: all of it counts.
		}
		lost[d.Name] = sum
	}
	return lost
}
