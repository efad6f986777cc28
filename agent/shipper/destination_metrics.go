// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// destinationMetrics are those of one destination. Its methods may be called
// concurrently.
type destinationMetrics struct {
	all     *metrics
	pending func() float64

	mu        sync.Mutex // guards the fields below: a reload may rename
	name, url string
	newest    newest
}

func (m *metrics) destination(set *settings, pending func() float64) *destinationMetrics {
	d := &destinationMetrics{all: m, pending: pending, name: set.name, url: set.url}
	for _, reason := range []string{lostBudget, lostRetention, lostUnknown} {
		m.lost.WithLabelValues(set.name, set.url, reason)
	}
	m.repeated.WithLabelValues(set.name, set.url)
	m.orphans.WithLabelValues(set.name, set.url)
	m.maxShards.WithLabelValues(set.name, set.url).Set(float64(set.maxShards))
	m.pending.add(d)
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
	d.all.maxShards.WithLabelValues(set.name, set.url).Set(float64(set.maxShards))
}

// remove ends the series of the destination.
func (d *destinationMetrics) remove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all.pending.remove(d)
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
	m.shards.DeletePartialMatch(by)
	m.maxShards.DeletePartialMatch(by)
	m.highestSent.DeletePartialMatch(by)
	m.send.forget(name, url)
}

// pendingCollector asks each destination when it is scraped.
type pendingCollector struct {
	desc *prometheus.Desc

	mu           sync.Mutex // guards destinations
	destinations []*destinationMetrics
}

func (c *pendingCollector) add(d *destinationMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destinations = append(c.destinations, d)
}

func (c *pendingCollector) remove(d *destinationMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.destinations {
		if other == d {
			c.destinations = append(c.destinations[:i:i], c.destinations[i+1:]...)
			return
		}
	}
}

// Describe implements prometheus.Collector.
func (c *pendingCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *pendingCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	all := append([]*destinationMetrics(nil), c.destinations...)
	c.mu.Unlock()
	sums := map[[2]string]float64{}
	for _, d := range all {
		d.mu.Lock()
		by := [2]string{d.name, d.url}
		d.mu.Unlock()
		sums[by] += d.pending() // Two may share name and URL: of one URL, by rules.
	}
	for by, n := range sums {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, n, by[0], by[1])
	}
}
