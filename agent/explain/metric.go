// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// What one question about a metric may cost targets and agent.
const (
	maxAsked      = 24 // targets of all jobs
	maxAskedOfJob = 10 // where the question is about one job
	askedAtOnce   = 2
	askTime       = 15 * time.Second
	maxErrors     = 3 // told of a job
	maxExamples   = 4 // of a job or a destination
	maxAlike      = 2 // examples with the same end
)

// Metrics is what an agent knows of its samples. Nothing of it is changed.
type Metrics struct {
	Config *config.Config
	Active map[string][]*scrape.Target // by job
	Scopes status.Scopes
	// Ask scrapes a target and keeps nothing. each is called for every sample
	// with a func that gives its labels as they come to the rules, until it returns.
	Ask    func(ctx context.Context, job *promconfig.ScrapeConfig, t *scrape.Target, each func(sample func() *labels.Builder)) error
	Totals func(job string) status.MetricTotals
	Logged func(job string, ls labels.Labels) labels.Labels // how a series goes into the log
	Doors  []Door
}

// Door is what a series passes on its way to a destination.
type Door struct {
	Name, URL string
	Rules     []*relabel.Config
	Dropped   []int64                                       // samples, by each rule; exact
	Since     time.Time                                     // of Dropped
	Enter     func(b *labels.Builder, logged labels.Labels) // as it comes to the rules
	Leave     func(b *labels.Builder, logged labels.Labels) // what the rules cannot change
}

// Metric explains what becomes of the samples of a metric, of one job or, where
// job is "", of all.
func Metric(ctx context.Context, name, job string, known Metrics) status.MetricExplanation {
	m := &metric{Metrics: known, name: strings.TrimSpace(name), only: strings.TrimSpace(job)}
	told := status.MetricExplanation{
		Name: cut(m.name, maxValue), Job: cut(m.only, maxValue),
		Jobs: []status.MetricJob{}, Destinations: []status.MetricDestination{},
	}
	if known.Config == nil {
		told.Verdict = "the agent has no config yet"
		return told
	}
	m.plan()
	if m.only != "" && len(m.jobs) == 0 {
		told.Verdict = m.noSuchJob(told.Job)
		return told
	}
	m.ask(ctx)
	for _, j := range m.jobs {
		told.Jobs = append(told.Jobs, m.job(j))
	}
	for i := range known.Doors {
		told.Destinations = append(told.Destinations, m.destination(i))
	}
	told.Verdict = m.verdict(told)
	return told
}

// metric is one answer in the making.
type metric struct {
	Metrics
	name, only string
	jobs       []*metricJob
}

// metricJob is a job that may have it.
type metricJob struct {
	config *promconfig.ScrapeConfig
	place  status.Job
	asked  []*heard
	likely bool // a target has told of the metric in a scrape
}

// plan chooses the targets to ask: first of the jobs of which a target is known
// to expose it.
func (m *metric) plan() {
	places := make(map[string]status.Job, len(m.Scopes.Jobs))
	for _, place := range m.Scopes.Jobs {
		places[place.Name] = place
	}
	for _, job := range m.Config.Prometheus.ScrapeConfigs {
		if m.only == "" || m.only == job.JobName {
			m.jobs = append(m.jobs, &metricJob{config: job, place: places[job.JobName]})
		}
	}
	candidates := map[*metricJob][]*heard{}
	for _, j := range m.jobs {
		candidates[j] = m.candidates(j)
	}
	order := slices.Clone(m.jobs)
	slices.SortStableFunc(order, func(a, b *metricJob) int { return -cmp.Compare(truth(a.likely), truth(b.likely)) })
	left := maxAsked
	for _, j := range order {
		limit := 1
		switch {
		case m.only != "":
			limit = maxAskedOfJob
		case j.likely:
			limit = 3
		}
		j.asked = candidates[j][:min(limit, left, len(candidates[j]))]
		left -= len(j.asked)
	}
	if m.ownReport() {
		for _, j := range m.jobs { // They are known without asking, all of them.
			j.asked = candidates[j]
		}
	}
}

// candidates are the job's targets, those first that are likely to answer with
// the metric.
func (m *metric) candidates(j *metricJob) []*heard {
	var all []*heard
	for _, t := range m.Active[j.config.JobName] {
		h := &heard{target: t, names: m.names(t), address: t.GetValue(model.AddressLabel)}
		h.likely = len(h.names) > 0
		if !h.likely {
			h.names = []string{m.name}
		}
		j.likely = j.likely || h.likely
		h.up = t.Health() == scrape.HealthGood
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *heard) int {
		return cmp.Or(-cmp.Compare(truth(a.likely), truth(b.likely)), -cmp.Compare(truth(a.up), truth(b.up)), cmp.Compare(a.address, b.address))
	})
	return all
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// names are those of the samples that are meant, where the target's last scrape
// had metadata of the metric: of a family, all of its samples.
func (m *metric) names(t *scrape.Target) []string {
	if meta, ok := t.GetMetadata(m.name); ok {
		names := []string{m.name}
		var more []string
		switch meta.Type {
		case model.MetricTypeHistogram, model.MetricTypeGaugeHistogram:
			more = []string{"_bucket", "_sum", "_count", "_gsum", "_gcount"}
		case model.MetricTypeSummary:
			more = []string{"_sum", "_count"}
		case model.MetricTypeCounter:
			more = []string{"_total"}
		case model.MetricTypeInfo:
			more = []string{"_info"}
		default: // One sample, of that name.
		}
		for _, end := range more {
			names = append(names, m.name+end)
		}
		return names
	}
	for _, end := range []string{"_bucket", "_sum", "_count", "_total", "_info", "_created"} {
		if family, ok := strings.CutSuffix(m.name, end); ok {
			if _, ok := t.GetMetadata(family); ok {
				return []string{m.name}
			}
		}
	}
	return nil
}

// ask asks the targets of the plan.
func (m *metric) ask(ctx context.Context) {
	if m.ownReport() {
		m.report()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var asking sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, j := range m.jobs {
		for _, h := range j.asked {
			slots <- struct{}{}
			asking.Go(func() {
				defer func() { <-slots }()
				h.begin(m, j)
				h.err = m.Ask(ctx, j.config, h.target, func(sample func() *labels.Builder) { h.take(m, j, sample) })
			})
		}
	}
	asking.Wait()
}
