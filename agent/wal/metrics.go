// SPDX-License-Identifier: Apache-2.0

package wal

import "github.com/prometheus/client_golang/prometheus"

// Why samples were lost before they reached the disk.
const (
	reasonNoSpace = "no_space"
	reasonOther   = "write_error"
)

type metrics struct {
	samplesLost *prometheus.CounterVec
	diskBytes   prometheus.Gauge
	maxBytes    prometheus.Gauge
	generations prometheus.Gauge
	series      prometheus.Gauge
	linksFailed prometheus.Counter
	syncFailed  prometheus.Counter
	freeFailed  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "torchbearer_wal_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "torchbearer_wal_" + name, Help: help})
	}
	m := &metrics{
		samplesLost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_wal_samples_lost_total",
			Help: "Scraped samples that could not be written to the log, by reason.",
		}, []string{"reason"}),
		diskBytes:   gauge("disk_bytes", "Size of all files in the data directory."),
		maxBytes:    gauge("max_bytes", "Size of the data directory over which the oldest of the log goes."),
		generations: gauge("generations", "Starts of the agent that samples are held of."),
		series:      gauge("series", "Series whose labels are kept in memory."),
		linksFailed: counter("links_failed_total", "Attempts to hold a file of the log that went wrong; they are repeated."),
		syncFailed:  counter("sync_failed_total", "Attempts to bring the log to the disk that went wrong; they are repeated."),
		freeFailed:  counter("releases_failed_total", "Attempts to free what need not be held any more that went wrong; they are repeated."),
	}
	for _, r := range []string{reasonNoSpace, reasonOther} {
		m.samplesLost.WithLabelValues(r)
	}
	reg.MustRegister(m.samplesLost, m.diskBytes, m.maxBytes, m.generations, m.series, m.linksFailed, m.syncFailed, m.freeFailed)
	return m
}
