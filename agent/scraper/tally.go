// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
	"torchbearer/config"
)

func newDropped() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "torchbearer_scrape_samples_dropped_total",
		Help: "Samples that metric_relabel_configs dropped, of scrapes that were written. By job.",
	}, []string{"job"})
}

// tally counts what the scrapes of a job brought since its metric_relabel_configs
// are as they are. The library tells it with each scrape, so that no sample is
// counted one by one. A nil one counts nothing.
type tally struct {
	rules   []*relabel.Config
	since   time.Time
	counter prometheus.Counter

	mu               sync.Mutex // guards the fields below
	scraped, dropped int64
}

// brought is what a scrape brought, as the library says at its end.
type brought struct{ up, scraped, kept, added float64 }

// take notes a sample that the library adds to the scrape. The name is of its
// metric family.
func (b *brought) take(name string, v float64) {
	switch name {
	case "up" + ofReport:
		b.up = v
	case "scrape_samples_scraped" + ofReport:
		b.scraped = v
	case "scrape_samples_post_metric_relabeling" + ofReport:
		b.kept = v
	case "scrape_series_added" + ofReport:
		b.added = v
	}
}

// add counts a scrape that was written. Of one that failed nothing was.
func (t *tally) add(b brought) {
	if t == nil || b.up != 1 {
		return
	}
	t.mu.Lock()
	t.scraped += int64(b.scraped)
	t.dropped += int64(b.scraped - b.kept)
	t.mu.Unlock()
	t.counter.Add(b.scraped - b.kept)
}

// tally makes the tallies of a config. Those of jobs whose rules are the same go
// on.
func (g *guard) tally(cfg *config.Config, former map[string]*tally) map[string]*tally {
	now, all := time.Now(), make(map[string]*tally, len(cfg.Prometheus.ScrapeConfigs))
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		if known := former[job.JobName]; known != nil && slices.EqualFunc(known.rules, job.MetricRelabelConfigs, sameRule) {
			all[job.JobName] = known
			continue
		}
		all[job.JobName] = &tally{rules: job.MetricRelabelConfigs, since: now, counter: g.dropped.WithLabelValues(job.JobName)}
	}
	return all
}

func sameRule(a, b *relabel.Config) bool {
	return a.Action == b.Action && slices.Equal(a.SourceLabels, b.SourceLabels) && a.Separator == b.Separator && a.Regex.String() == b.Regex.String() &&
		a.Modulus == b.Modulus && a.TargetLabel == b.TargetLabel && a.Replacement == b.Replacement
}

// Totals tells what the scrapes of the job brought since its rules are as they
// are, or the start.
func (s *Scraper) Totals(job string) status.MetricTotals {
	t := s.guard.rules.Load().tallies[job]
	if t == nil {
		return status.MetricTotals{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return status.MetricTotals{Since: t.since, Scraped: t.scraped, Dropped: t.dropped}
}

// Logged is how a series of the job goes into the log: with no mandatory label of
// its own.
func (s *Scraper) Logged(job string, ls labels.Labels) labels.Labels {
	rules := s.guard.rules.Load()
	if slices.Contains(rules.trusted, job) || !slices.ContainsFunc(rules.mandatory, ls.Has) {
		return ls
	}
	return (&guardedAppender{mandatory: rules.mandatory}).rename(ls)
}
