// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"torchbearer/agent/status"
	"torchbearer/agent/wal"
	"torchbearer/config"
)

// seriesIdle is for how long a series is active that is not scraped any more: it
// may come back after a short trouble.
const seriesIdle = 5 * time.Minute

// applyLimits bounds the series. One is active for longer than it takes a scrape
// of any job to come again.
func (a *Agent) applyLimits(cfg *config.Config) error {
	limits := wal.Limits{MaxSeries: cfg.Agent.Limits.MaxSeries, Jobs: map[string]int{}, Idle: seriesIdle}
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		limits.Jobs[job.JobName] = cfg.Agent.Limits.MaxSeriesOf(job.JobName)
		limits.Idle = max(limits.Idle, 2*time.Duration(job.ScrapeInterval))
	}
	a.wal.Limit(limits)
	return nil
}

// Series tells who makes the active series.
func (a *Agent) Series() status.Series {
	series := a.wal.Series()
	series.Metrics = a.wal.TopMetrics()
	return series
}
