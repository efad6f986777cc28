// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// destinationMetrics are those of one destination. Its methods may be called
// concurrently.
type destinationMetrics struct {
	all *metrics
	of  *destination

	mu        sync.Mutex // guards the fields below: a reload may rename
	name, url string
	newest    newest
}

func (m *metrics) destination(set *settings, of *destination) *destinationMetrics {
	d := &destinationMetrics{all: m, of: of, name: set.name, url: set.url}
	for _, reason := range []string{lostBudget, lostRetention, lostUnknown} {
		m.lost.WithLabelValues(set.name, set.url, reason)
	}
	m.repeated.WithLabelValues(set.name, set.url)
	m.orphans.WithLabelValues(set.name, set.url)
	m.desiredShards.WithLabelValues(set.name, set.url).Set(float64(set.minShards))
	d.limits(set)
	m.ledgers.add(d)
	return d
}

// rename counts under the name and URL of set from now on.
func (d *destinationMetrics) rename(set *settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.name != set.name || d.url != set.url {
		d.all.forget(d.name, d.url)
		d.name, d.url = set.name, set.url
	}
	d.limits(set)
}

// limits tells what is known from the settings.
func (d *destinationMetrics) limits(set *settings) {
	d.all.minShards.WithLabelValues(set.name, set.url).Set(float64(set.minShards))
	d.all.maxShards.WithLabelValues(set.name, set.url).Set(float64(set.maxShards))
	d.all.perRequest.WithLabelValues(set.name, set.url).Set(float64(set.perRequest))
}

// desires tells how many shards the destination would use without a limit.
func (d *destinationMetrics) desires(shards int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.desiredShards.WithLabelValues(d.name, d.url).Set(float64(shards))
}

// remove ends the series of the destination.
func (d *destinationMetrics) remove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.ledgers.remove(d)
	d.all.forget(d.name, d.url)
}

func (d *destinationMetrics) lose(reason string, samples int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.lost.WithLabelValues(d.name, d.url, reason).Add(float64(samples))
}

// sent notes what became of a window.
func (d *destinationMetrics) sent(w *window) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.repeated.WithLabelValues(d.name, d.url).Add(float64(w.repeated))
	d.all.orphans.WithLabelValues(d.name, d.url).Add(float64(w.orphans))
	d.all.shards.WithLabelValues(d.name, d.url).Set(float64(len(w.shards)))
	d.newest.set(d.all.highestSent.WithLabelValues(d.name, d.url), w.newest)
}

func (m *metrics) forget(name, url string) {
	by := prometheus.Labels{"remote_name": name, "url": url}
	m.lost.DeletePartialMatch(by)
	m.repeated.DeletePartialMatch(by)
	m.orphans.DeletePartialMatch(by)
	for _, g := range []*prometheus.GaugeVec{m.shards, m.minShards, m.maxShards, m.desiredShards, m.perRequest, m.highestSent} {
		g.DeletePartialMatch(by)
	}
	m.send.forget(name, url)
}
