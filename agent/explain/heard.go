// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// heard is what a target that was asked has said, and what the rules make of it.
// It is for one goroutine.
type heard struct {
	target     *scrape.Target
	address    string
	url        string   // for people
	names      []string // of the samples that are meant
	likely, up bool
	err        error

	scrape  passed // through metric_relabel_configs
	now     []int  // samples of all metrics that each rule dropped
	doors   []passed
	builder *labels.Builder
}

// passed is what samples of the metric came to rules.
type passed struct {
	samples, kept int
	dropped       []int // by each rule
	examples      []example
}

type example struct {
	status.MetricExample

	end int // the index of the rule that dropped it, or -1
}

func (h *heard) begin(m *metric, j *metricJob) {
	h.url = showURL(h.target.URL())
	rules := len(j.config.MetricRelabelConfigs)
	h.scrape.dropped, h.now = make([]int, rules), make([]int, rules)
	h.doors = make([]passed, len(m.Doors))
	for i := range h.doors {
		h.doors[i].dropped = make([]int, len(m.Doors[i].Rules))
	}
	h.builder = labels.NewBuilder(labels.EmptyLabels())
}

// take takes note of a sample. Most are of other metrics.
func (h *heard) take(m *metric, j *metricJob, sample func() *labels.Builder) {
	rules := j.config.MetricRelabelConfigs
	b := sample()
	meant := slices.Contains(h.names, b.Get(model.MetricNameLabel))
	end := dropper(b, rules)
	if end >= 0 {
		h.now[end]++
	} else {
		meant = meant || b.Get(model.MetricNameLabel) == m.name
	}
	if !meant {
		return
	}
	after := standing(b)
	h.scrape.count(end, h.url, func() (labels.Labels, *labels.Builder, []*relabel.Config) {
		b := sample()
		return standing(b), b, rules
	}, nil)
	if end < 0 {
		h.leave(m, m.Logged(j.config.JobName, after))
	}
}

// leave lets a series of the log go to all destinations.
func (h *heard) leave(m *metric, logged labels.Labels) {
	for i := range m.Doors {
		door := &m.Doors[i]
		door.Enter(h.builder, logged)
		end := dropper(h.builder, door.Rules)
		h.doors[i].count(end, h.url, func() (labels.Labels, *labels.Builder, []*relabel.Config) {
			door.Enter(h.builder, logged)
			return standing(h.builder), h.builder, door.Rules
		}, func(b *labels.Builder) { door.Leave(b, logged) })
	}
}

// count counts a sample that the rule of index end dropped, or none. again gives
// its labels before the rules, for an example; last does what comes after them.
func (p *passed) count(end int, target string, again func() (labels.Labels, *labels.Builder, []*relabel.Config), last func(*labels.Builder)) {
	p.samples++
	if end < 0 {
		p.kept++
	} else {
		p.dropped[end]++
	}
	alike := 0
	for _, e := range p.examples {
		if e.end == end {
			alike++
		}
	}
	if alike >= maxAlike || len(p.examples) >= maxExamples {
		return
	}
	before, b, rules := again()
	e := example{MetricExample: status.MetricExample{Target: target, Before: shown(before), After: map[string]string{}}, end: end}
	e.Steps, _ = Relabel(b, rules)
	if e.Dropped = end >= 0; e.Dropped {
		if end < len(e.Steps) {
			e.Steps[end].Dropped = true // Also where it has only lost all its labels.
		}
	} else {
		if last != nil {
			last(b)
		}
		e.After = shown(standing(b))
	}
	p.examples = append(p.examples, e)
}

// add adds what another target's samples came to.
func (p *passed) add(o passed) {
	p.samples += o.samples
	p.kept += o.kept
	if p.dropped == nil {
		p.dropped = make([]int, len(o.dropped))
	}
	for i, n := range o.dropped {
		p.dropped[i] += n
	}
	for _, e := range o.examples {
		alike := 0
		for _, known := range p.examples {
			if known.end == e.end {
				alike++
			}
		}
		if alike < maxAlike && len(p.examples) < maxExamples {
			p.examples = append(p.examples, e)
		}
	}
}

func (p *passed) told() []status.MetricExample {
	all := []status.MetricExample{}
	for _, e := range p.examples {
		all = append(all, e.MetricExample)
	}
	return all
}

// ownReport says whether the metric is one that the agent adds to each scrape.
func (m *metric) ownReport() bool {
	return slices.Contains([]string{
		"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added",
		"scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes",
	}, m.name)
}

// report tells of such a metric, which metric_relabel_configs do not see.
func (m *metric) report() {
	for _, j := range m.jobs {
		if extra := len(m.name) > 0 && slices.Contains([]string{"scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"}, m.name); extra && !j.config.ExtraScrapeMetricsEnabled() {
			j.asked = nil
		}
		for _, h := range j.asked {
			h.begin(m, j)
			b := labels.NewBuilder(labels.FromStrings(model.MetricNameLabel, m.name))
			h.target.LabelsRange(func(l labels.Label) { b.Set(l.Name, l.Value) })
			ls := standing(b)
			h.scrape.count(-1, h.url, func() (labels.Labels, *labels.Builder, []*relabel.Config) { return ls, labels.NewBuilder(ls), nil }, nil)
			h.leave(m, m.Logged(j.config.JobName, ls))
		}
	}
}
