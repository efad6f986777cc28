// SPDX-License-Identifier: Apache-2.0

package agent

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	// Under our names and, for existing alerts, under Prometheus's.
	successful []prometheus.Gauge
	timestamp  []prometheus.Gauge

	info          *prometheus.GaugeVec
	lastGoodInUse prometheus.Gauge
	heartbeatLost prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "torchbearer_config_info",
			Help: "Always 1, with the hash of the files of the running config.",
		}, []string{"hash"}),
		lastGoodInUse: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "torchbearer_config_last_good_in_use",
			Help: "Whether the agent runs on the last good config because its config file is bad.",
		}),
	}
	m.heartbeatLost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "torchbearer_heartbeat_samples_refused_total",
		Help: "Samples of heartbeats that the log would not take, as when the clock was set back.",
	})
	reg.MustRegister(m.info, m.lastGoodInUse, m.heartbeatLost)
	for _, prefix := range []string{"torchbearer", "prometheus"} {
		successful := prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "_config_last_reload_successful",
			Help: "Whether the last configuration reload attempt was successful.",
		})
		timestamp := prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "_config_last_reload_success_timestamp_seconds",
			Help: "Timestamp of the last successful configuration reload.",
		})
		reg.MustRegister(successful, timestamp)
		m.successful = append(m.successful, successful)
		m.timestamp = append(m.timestamp, timestamp)
	}
	return m
}

func (m *metrics) accepted(hash string) {
	for i := range m.successful {
		m.successful[i].Set(1)
		m.timestamp[i].SetToCurrentTime()
	}
	m.running(hash)
}

func (m *metrics) refused() {
	for _, g := range m.successful {
		g.Set(0)
	}
}

func (m *metrics) running(hash string) {
	m.info.Reset()
	m.info.WithLabelValues(hash).Set(1)
}
