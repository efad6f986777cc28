// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// droppedTooOld is the reason of samples over sample_age_limit.
const droppedTooOld = "too_old"

// sendMetricsVec has the metrics of sending for all destinations. What
// Prometheus's remote storage has too has its name and its meaning.
type sendMetricsVec struct {
	total, failed, retried, dropped kinds
	bytes                           *prometheus.CounterVec
	refused                         *prometheus.CounterVec
	duration                        *prometheus.HistogramVec
}

// kinds is a metric of samples, one of histograms and one of exemplars.
type kinds struct{ samples, histograms, exemplars *prometheus.CounterVec }

func newSendMetrics(reg prometheus.Registerer) *sendMetricsVec {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"remote_name", "url"}, more...))
		reg.MustRegister(c)
		return c
	}
	kind := func(suffix, help string, more ...string) kinds {
		one := func(what string) *prometheus.CounterVec {
			return counter("prometheus_remote_storage_"+what+suffix, "Total number of "+what+" "+help, more...)
		}
		return kinds{samples: one("samples"), histograms: one("histograms"), exemplars: one("exemplars")}
	}
	v := &sendMetricsVec{
		total:   kind("_total", "sent to remote storage, each attempt counted."),
		failed:  kind("_failed_total", "that remote storage refused for good."),
		retried: kind("_retried_total", "that were sent again because the attempt before had failed."),
		dropped: kind("_dropped_total", "that were not sent, by reason.", "reason"),
		bytes: counter("prometheus_remote_storage_bytes_total",
			"The total number of bytes sent to remote storage after compression, each attempt counted."),
		refused: counter("torchbearer_remote_samples_refused_total",
			"Samples and histograms that remote storage refused for good, by what its words tell of the reason.", "reason"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "prometheus_remote_storage_sent_batch_duration_seconds",
			Help:    "Duration of send calls to the remote storage.",
			Buckets: append(append([]float64(nil), prometheus.DefBuckets...), 25, 60, 120, 300),

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"remote_name", "url"}),
	}
	reg.MustRegister(v.duration)
	return v
}

// sendMetrics are those of one destination.
type sendMetrics struct {
	total, failedTotal, retriedTotal, dropped counts
	bytes                                     prometheus.Counter
	refusedTotal                              map[string]prometheus.Counter
	duration                                  prometheus.Observer
}

// counts counts points by kind.
type counts struct{ samples, histograms, exemplars prometheus.Counter }

func (k *kinds) with(values ...string) counts {
	return counts{k.samples.WithLabelValues(values...), k.histograms.WithLabelValues(values...), k.exemplars.WithLabelValues(values...)}
}

// with returns the metrics of a destination, all of them there from the start.
func (v *sendMetricsVec) with(name, url string) *sendMetrics {
	m := &sendMetrics{
		total: v.total.with(name, url), failedTotal: v.failed.with(name, url), retriedTotal: v.retried.with(name, url),
		dropped:      v.dropped.with(name, url, droppedTooOld),
		bytes:        v.bytes.WithLabelValues(name, url),
		refusedTotal: map[string]prometheus.Counter{},
		duration:     v.duration.WithLabelValues(name, url),
	}
	for _, reason := range []string{
		refusedOutOfOrder, refusedDuplicate, refusedTooOld, refusedOutOfBounds, refusedInvalid, refusedTooLarge, refusedOther,
	} {
		m.refusedTotal[reason] = v.refused.WithLabelValues(name, url, reason)
	}
	return m
}

// forget ends the series of a destination.
func (v *sendMetricsVec) forget(name, url string) {
	by := prometheus.Labels{"remote_name": name, "url": url}
	for _, k := range []kinds{v.total, v.failed, v.retried, v.dropped} {
		k.samples.DeletePartialMatch(by)
		k.histograms.DeletePartialMatch(by)
		k.exemplars.DeletePartialMatch(by)
	}
	v.bytes.DeletePartialMatch(by)
	v.refused.DeletePartialMatch(by)
	v.duration.DeletePartialMatch(by)
}

// tally counts points by kind.
type tally struct{ samples, histograms, exemplars int }

func tallyOf(points []point) tally {
	var t tally
	for i := range points {
		switch p := &points[i]; {
		case p.isExemplar():
			t.exemplars++
		case p.isHistogram():
			t.histograms++
		default:
			t.samples++
		}
	}
	return t
}

// countSamples counts samples and histograms.
func countSamples(points []point) int {
	t := tallyOf(points)
	return t.samples + t.histograms
}

func (c *counts) add(t tally) {
	c.samples.Add(float64(t.samples))
	c.histograms.Add(float64(t.histograms))
	c.exemplars.Add(float64(t.exemplars))
}

func (m *sendMetrics) attempted(points []point, bytes int) {
	m.total.add(tallyOf(points))
	m.bytes.Add(float64(bytes))
}

func (m *sendMetrics) retried(points []point) { m.retriedTotal.add(tallyOf(points)) }

func (m *sendMetrics) failed(points []point) { m.failedTotal.add(tallyOf(points)) }

func (m *sendMetrics) dropOld(points []point) { m.dropped.add(tallyOf(points)) }

func (m *sendMetrics) refused(reason string, samples int) {
	m.refusedTotal[reason].Add(float64(samples))
}

// missing counts as failed what a receiver says it has not stored of points, and
// returns how many samples and histograms that is. leftOut exemplars were not in
// the request. A receiver may count a histogram as a sample.
func (m *sendMetrics) missing(points []point, leftOut int, w written) int {
	sent := tallyOf(points)
	all := max(sent.samples+sent.histograms-w.samples-w.histograms, 0)
	histograms := min(max(sent.histograms-w.histograms, 0), all)
	m.failedTotal.add(tally{
		samples: all - histograms, histograms: histograms, exemplars: max(sent.exemplars-leftOut-w.exemplars, 0),
	})
	return all
}
