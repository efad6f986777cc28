// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"sync"
	"weak"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// lastScrapes remembers what the last scrape of each target brought, for as long
// as the library has the target. The zero value is ready.
type lastScrapes struct {
	mu    sync.Mutex
	of    map[weak.Pointer[scrape.Target]]status.Samples
	prune int // at this size those that are gone are forgotten
}

const pruneFrom = 128

// note is called at the end of each scrape. One that ends a target has no
// numbers.
func (l *lastScrapes) note(t *scrape.Target, b brought) {
	if t == nil || b.up != 0 && b.up != 1 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of, l.prune = map[weak.Pointer[scrape.Target]]status.Samples{}, pruneFrom
	}
	l.of[weak.Make(t)] = status.Samples{Scraped: int64(b.scraped), Kept: int64(b.kept), Added: int64(b.added)}
	if len(l.of) < l.prune {
		return
	}
	for target := range l.of {
		if target.Value() == nil {
			delete(l.of, target)
		}
	}
	l.prune = max(pruneFrom, 2*len(l.of))
}

// Samples is what the last scrape of the target brought, if there was one.
func (s *Scraper) Samples(t *scrape.Target) (n status.Samples, ok bool) {
	l := &s.guard.last
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok = l.of[weak.Make(t)]
	return n, ok
}
