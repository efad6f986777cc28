// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the shipper. Those of Prometheus's remote storage keep their names
// and meaning.
type metrics struct {
	samplesIn, histogramsIn, exemplarsIn prometheus.Counter

	highest       prometheus.Gauge
	newest        newest
	journalFailed prometheus.Counter
	send          *sendMetricsVec

	lost, repeated, orphans *prometheus.CounterVec
	highestSent             *prometheus.GaugeVec
	ledgers                 *ledgerCollector

	shards, minShards, maxShards, desiredShards, perRequest *prometheus.GaugeVec
}

// newest keeps a gauge of seconds at the highest of many milliseconds.
type newest struct {
	mu    sync.Mutex
	value int64
}

func (n *newest) set(g prometheus.Gauge, ms int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ms > n.value {
		n.value = ms
		g.Set(math.Floor(float64(ms) / 1000))
	}
}

func (n *newest) seconds() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return math.Floor(float64(n.value) / 1000)
}

func newMetrics(reg prometheus.Registerer) *metrics {
	in := func(what string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prometheus_remote_storage_" + what + "_in_total",
			Help: "What was logged to be sent (" + what + "), compare to what goes out.",
		})
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"remote_name", "url"}, more...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"remote_name", "url"})
	}
	m := &metrics{
		samplesIn: in("samples"), histogramsIn: in("histograms"), exemplarsIn: in("exemplars"),
		highest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prometheus_remote_storage_highest_timestamp_in_seconds",
			Help: "Highest timestamp that was logged to be sent, in seconds since the epoch; 0 before the first.",
		}),
		journalFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "torchbearer_remote_journal_failures_total",
			Help: "Writes of a journal that failed: after a restart then, samples are sent again.",
		}),
		lost: counter("torchbearer_remote_samples_lost_total",
			"Logged samples that a destination was not sent and never will be, by reason.", "reason"),
		repeated: counter("torchbearer_remote_samples_repeated_total",
			"Samples that the log held a second time, as it does after a failed write, and that were not sent again."),
		orphans: counter("torchbearer_remote_exemplars_orphaned_total",
			"Exemplars not sent because the sample they go with was not in the same window of the log."),
		shards:    gauge("prometheus_remote_storage_shards", "Requests that may be on their way at once."),
		minShards: gauge("prometheus_remote_storage_shards_min", "Requests that may be on their way at once, at least."),
		maxShards: gauge("prometheus_remote_storage_shards_max", "Requests that may be on their way at once, at most."),
		desiredShards: gauge("prometheus_remote_storage_shards_desired",
			"Requests that a destination would have on their way at once, were there no limit: 1 where that keeps up."),
		perRequest:  gauge("prometheus_remote_storage_max_samples_per_send", "Samples that a request may have."),
		highestSent: gauge("prometheus_remote_storage_queue_highest_sent_timestamp_seconds", "Highest timestamp that was answered for, in seconds since the epoch."),
	}
	m.ledgers = newLedgerCollector(&m.newest)
	reg.MustRegister(m.samplesIn, m.histogramsIn, m.exemplarsIn, m.highest, m.journalFailed,
		m.lost, m.repeated, m.orphans, m.highestSent, m.ledgers,
		m.shards, m.minShards, m.maxShards, m.desiredShards, m.perRequest)
	m.send = newSendMetrics(reg)
	return m
}

func (m *metrics) in(samples, histograms, exemplars int, newest int64) {
	m.samplesIn.Add(float64(samples))
	m.histogramsIn.Add(float64(histograms))
	m.exemplarsIn.Add(float64(exemplars))
	m.newest.set(m.highest, newest)
}
