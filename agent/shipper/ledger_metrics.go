// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"torchbearer/agent/status"
)

// ledgerCollector asks each destination once when it is scraped, so that what one
// scrape says of a ledger adds up.
type ledgerCollector struct {
	newest *newest

	scraped, sent, pending, lost, leftOut, rules *prometheus.Desc
	bytes, seconds, budget, clock, lastSuccess   *prometheus.Desc
	inFlight, oldest, lastError                  *prometheus.Desc
	samplesPending, highest                      *prometheus.Desc

	mu           sync.Mutex // guards destinations
	destinations []*destinationMetrics
}

func newLedgerCollector(n *newest) *ledgerCollector {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"remote_name", "url"}, more...), nil)
	}
	of := func(name, help string, more ...string) *prometheus.Desc {
		return desc("torchbearer_destination_"+name, help, more...)
	}
	return &ledgerCollector{
		newest:  n,
		scraped: of("scraped_samples_total", "Samples and histograms that were there for the destination: not sent when the process began, or scraped since. At any moment it is the sum of sent, pending, lost and left out."),
		sent:    of("sent_samples_total", "Samples and histograms of the log that the receiver has stored."),
		pending: of("pending_samples", "Samples and histograms that have no answer yet."),
		lost:    of("lost_samples_total", "Samples and histograms that the destination will never have, by reason.", "reason"),
		leftOut: of("left_out_samples_total", "Samples and histograms that the config does not want sent, by reason.", "reason"),
		rules: desc("torchbearer_write_relabel_dropped_samples_total",
			"Samples and histograms that a rule of write_relabel_configs has dropped, by its place, from 1.", "rule"),
		bytes:       of("backlog_bytes", "Size of the log that is not sent yet."),
		seconds:     of("backlog_seconds", "Age of the oldest sample without an answer, 0 if there is none."),
		budget:      of("budget_hours", "How long the disk budget lasts at the present rate when nothing is sent; absent until that is known."),
		clock:       of("clock_offset_seconds", "By how much the receiver's clock is ahead of this one; absent until the receiver has told."),
		lastSuccess: of("last_success_timestamp_seconds", "When the receiver stored a request last, in seconds since the epoch; absent before the first."),
		inFlight:    of("requests_in_flight", "Requests that are on their way."),
		oldest:      of("oldest_pending_timestamp_seconds", "Timestamp of the oldest sample without an answer, in seconds since the epoch; absent if there is none."),
		lastError:   of("last_error_timestamp_seconds", "When something went wrong last, in seconds since the epoch; absent before the first time. The status page has the receiver's words."),
		samplesPending: desc("prometheus_remote_storage_samples_pending",
			"Samples and histograms that have no answer yet."),
		highest: desc("prometheus_remote_storage_queue_highest_timestamp_seconds",
			"Highest timestamp that was logged to be sent, in seconds since the epoch."),
	}
}

func (c *ledgerCollector) add(d *destinationMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destinations = append(c.destinations, d)
}

func (c *ledgerCollector) remove(d *destinationMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.destinations = slices.DeleteFunc(c.destinations, func(o *destinationMetrics) bool { return o == d })
}

// Describe implements prometheus.Collector.
func (c *ledgerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.scraped, c.sent, c.pending, c.lost, c.leftOut, c.rules,
		c.bytes, c.seconds, c.budget, c.clock, c.lastSuccess, c.inFlight, c.oldest, c.lastError, c.samplesPending, c.highest,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *ledgerCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	all := slices.Clone(c.destinations)
	c.mu.Unlock()
	told := map[[2]string]bool{}
	for _, d := range all {
		d.mu.Lock()
		by := [2]string{d.name, d.url}
		d.mu.Unlock()
		if told[by] {
			continue // A reload is giving the name to another one.
		}
		told[by] = true
		st := d.of.status()
		c.collect(to, &st, by, d.of.ruleCounts())
	}
}

func (c *ledgerCollector) collect(to chan<- prometheus.Metric, st *status.Destination, by [2]string, rules []status.RuleCount) {
	tell := func(desc *prometheus.Desc, kind prometheus.ValueType, v float64, more ...string) {
		to <- prometheus.MustNewConstMetric(desc, kind, v, append(by[:], more...)...)
	}
	counter := func(desc *prometheus.Desc, n int64, more ...string) {
		tell(desc, prometheus.CounterValue, float64(n), more...)
	}
	gauge := func(desc *prometheus.Desc, v *float64) {
		if v != nil {
			tell(desc, prometheus.GaugeValue, *v)
		}
	}
	counter(c.scraped, st.Ledger.Scraped)
	counter(c.sent, st.Ledger.Sent)
	for reason, n := range st.Ledger.Lost {
		counter(c.lost, n, reason)
	}
	for reason, n := range st.Ledger.LeftOut {
		counter(c.leftOut, n, reason)
	}
	for _, r := range rules {
		counter(c.rules, r.Samples, strconv.Itoa(r.Rule+1))
	}
	pending, bytes, highest := float64(st.Ledger.Pending), float64(st.BacklogBytes), c.newest.seconds()
	gauge(c.pending, &pending)
	gauge(c.samplesPending, &pending)
	gauge(c.highest, &highest)
	gauge(c.bytes, &bytes)
	gauge(c.seconds, &st.BacklogSeconds)
	gauge(c.budget, st.BudgetHours)
	gauge(c.clock, st.ClockOffsetSeconds)
	inFlight := float64(st.InFlight)
	gauge(c.inFlight, &inFlight)
	gauge(c.lastSuccess, epoch(st.LastSuccess))
	gauge(c.oldest, epoch(st.OldestPending))
	gauge(c.lastError, epoch(st.LastErrorAt))
}

// epoch is a time in seconds since the epoch, nil of none.
func epoch(at *time.Time) *float64 {
	if at == nil {
		return nil
	}
	return new(float64(at.UnixMilli()) / float64(time.Second/time.Millisecond))
}
