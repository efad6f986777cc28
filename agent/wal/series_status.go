// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/packed"
	"torchbearer/agent/status"
)

const (
	topMetrics = 100
	topEvery   = 10 * time.Second // at most
	// topNames are told apart while counting. Those beyond, when series of so many
	// names were seen before, are hardly those of the most series.
	topNames = 20_000
)

// Series tells who makes the active series, without their metrics.
func (l *Log) Series() status.Series {
	s := status.Series{
		Active: l.table.active.Load(),
		Limit:  l.admission.max.Load(),
		Closed: l.admission.closedToAll().words(),
		Jobs:   []status.JobSeries{},
	}
	for _, j := range l.jobs.all() {
		js := status.JobSeries{Job: j.name, Active: j.active.Load(), Limit: j.limit.Load(), Added: j.added(), Refused: j.allRefused()}
		s.Refused += js.Refused
		s.Jobs = append(s.Jobs, js)
	}
	slices.SortStableFunc(s.Jobs, func(a, b status.JobSeries) int { return cmp.Compare(b.Active, a.Active) })
	return s
}

// TopMetrics are the metrics with the most active series, as they were at most
// some seconds ago. The result is read only.
func (l *Log) TopMetrics() []status.MetricCount { return l.top.get(l.table, l.opts.Now) }

// top remembers what was counted last.
type top struct {
	mu      sync.Mutex // guards the fields below, and is held while counting
	at      time.Time
	metrics []status.MetricCount
}

func (t *top) get(table *table, now func() time.Time) []status.MetricCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.metrics == nil || now().Sub(t.at) >= topEvery {
		t.metrics = countMetrics(table)
		t.at = now()
	}
	return t.metrics
}

func countMetrics(table *table) []status.MetricCount {
	type metric struct {
		name string
		job  *job
	}
	counts := map[metric]int64{}
	table.eachActive(func(_ chunks.HeadSeriesRef, ls packed.Labels, j *job) {
		m := metric{ls.Get(model.MetricNameLabel), j}
		if n, ok := counts[m]; ok || len(counts) < topNames {
			counts[m] = n + 1
		}
	})
	all := make([]status.MetricCount, 0, len(counts))
	for m, n := range counts {
		all = append(all, status.MetricCount{Metric: m.name, Job: m.job.name, Series: n})
	}
	slices.SortFunc(all, func(a, b status.MetricCount) int {
		return cmp.Or(cmp.Compare(b.Series, a.Series), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Job, b.Job))
	})
	first := slices.Clone(all[:min(len(all), topMetrics)])
	for i := range first {
		first[i].Metric = strings.Clone(first[i].Metric) // So that it does not keep all labels of a series.
	}
	return first
}

// seriesCollector shows the counts as metrics.
type seriesCollector struct{ log *Log }

var _ prometheus.Collector = (*seriesCollector)(nil)

// Describe implements prometheus.Collector.
func (c *seriesCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range seriesDescs() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *seriesCollector) Collect(ch chan<- prometheus.Metric) {
	descs := seriesDescs()
	ch <- prometheus.MustNewConstMetric(descs[1], prometheus.GaugeValue, float64(c.log.admission.max.Load()))
	for _, j := range c.log.jobs.all() {
		ch <- prometheus.MustNewConstMetric(descs[0], prometheus.GaugeValue, float64(j.active.Load()), j.name)
		for r := range j.refused {
			ch <- prometheus.MustNewConstMetric(descs[2], prometheus.CounterValue, float64(j.refused[r].Load()), j.name, refusal(r).String())
		}
	}
}

func seriesDescs() [3]*prometheus.Desc {
	return [...]*prometheus.Desc{
		prometheus.NewDesc("torchbearer_series", "Active series: those with a sample within the last minutes, by job; job torchbearer is the agent's own.", []string{"job"}, nil),
		prometheus.NewDesc("torchbearer_series_limit", "How many series may be active (agent.limits.max_series), 0 for no limit.", nil, nil),
		prometheus.NewDesc("torchbearer_series_refused_total", "Samples of new series that were not logged because of a limit, by job and reason: job_max_series, max_series, or memory, the process has hardly any left.", []string{"job", "reason"}, nil),
	}
}
