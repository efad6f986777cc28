// SPDX-License-Identifier: Apache-2.0

package shipper

import "github.com/prometheus/client_golang/prometheus"

// inMetrics count what was committed, under the names that Prometheus's remote
// storage has for it in the registry of its own process.
type inMetrics struct {
	samples, histograms, exemplars prometheus.Counter
}

func newInMetrics(reg prometheus.Registerer) *inMetrics {
	counter := func(what string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prometheus_remote_storage_" + what + "_in_total",
			Help: "What came in to remote storage (" + what + "), compare to what goes out of its queues.",
		})
		reg.MustRegister(c)
		return c
	}
	return &inMetrics{samples: counter("samples"), histograms: counter("histograms"), exemplars: counter("exemplars")}
}
