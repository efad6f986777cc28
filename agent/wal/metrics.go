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
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		samplesLost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_wal_samples_lost_total",
			Help: "Scraped samples that could not be written to the log, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range []string{reasonNoSpace, reasonOther} {
		m.samplesLost.WithLabelValues(r)
	}
	reg.MustRegister(m.samplesLost)
	return m
}
