// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// otherHandler is the handler label of requests that match no route.
const otherHandler = "other"

type metrics struct {
	requests *prometheus.CounterVec
	// compatible has the same numbers under the name that Prometheus gives them, for dashboards that exist.
	compatible *prometheus.CounterVec
	panics     prometheus.Counter
}

// newMetrics registers the metrics of this package. Handlers is the closed list of values of the label handler.
func newMetrics(reg prometheus.Registerer, handlers []string) (*metrics, error) {
	labels := []string{"handler", "code"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_http_requests_total",
			Help: "Number of HTTP requests answered, by route and status code.",
		}, labels),
		compatible: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prometheus_http_requests_total",
			Help: "Same as torchbearer_http_requests_total, under the name that Prometheus uses.",
		}, labels),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "torchbearer_http_panics_total",
			Help: "Number of HTTP requests whose handler panicked.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.compatible, m.panics} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the HTTP server: %w", err)
		}
	}
	for _, handler := range handlers {
		m.requests.WithLabelValues(handler, "200")
		m.compatible.WithLabelValues(handler, "200")
	}
	return m, nil
}

func (m *metrics) count(handler string, code int) {
	m.requests.WithLabelValues(handler, strconv.Itoa(code)).Inc()
	m.compatible.WithLabelValues(handler, strconv.Itoa(code)).Inc()
}
