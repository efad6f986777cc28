// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// maxMatches bounds how many targets are told step by step, half of them
// scraped ones while there are others, and maxJudged how many are relabelled to
// find those that are not.
const (
	maxMatches = 50
	maxJudged  = 1000
	maxBytes   = 2 << 20 // of labels in an answer, about
)

// Targets is what an agent knows of its targets. Nothing of it is changed.
type Targets struct {
	Config  *config.Config
	Groups  map[string][]*targetgroup.Group // as discovered, by job
	Active  map[string][]*scrape.Target     // by job
	Dropped map[string]int                  // how many, by job
	Scopes  status.Scopes
	// PodNode tells the node of a pod, "" being that nobody knows; namespace may
	// be "". It is asked when no job sees what the question names; nil never.
	PodNode func(ctx context.Context, namespace, pod string) (node string)
}

// Target explains what is known of the job, target or pod that text names.
func Target(ctx context.Context, text string, known Targets) status.TargetExplanation {
	e := &targets{Targets: known, query: newQuery(text), builder: labels.NewBuilder(labels.EmptyLabels())}
	told := status.TargetExplanation{Query: cut(e.query.text, maxValue), Matches: []status.TargetMatch{}, Jobs: []status.JobView{}}
	if known.Config == nil {
		told.Verdict = "the agent has no config yet"
		return told
	}
	places := make(map[string]status.Job, len(known.Scopes.Jobs))
	for _, place := range known.Scopes.Jobs {
		places[place.Name] = place
	}
	for _, job := range known.Config.Prometheus.ScrapeConfigs {
		seen := e.job(job)
		told.Jobs = append(told.Jobs, e.view(places[job.JobName], seen))
		told.Total += seen.total
		told.Matches = append(told.Matches, seen.scraped...)
		told.Matches = append(told.Matches, seen.others...)
	}
	if e.omitted {
		told.Truncated = true
	} else {
		told.Total = len(told.Matches) // Several may have come to be the same target.
	}
	told.Verdict = e.verdict(ctx, told)
	return told
}

// targets is one answer in the making.
type targets struct {
	Targets
	query   query
	builder *labels.Builder
	listed  int  // matches that were told
	bytes   int  // of their labels
	judged  int  // relabelled to find out what became of them
	omitted bool // there are more
}

// seen is what a job has of what was asked for.
type seen struct {
	job             string
	named           bool // the question is about the job itself
	found, total    int  // targets: discovered, and meant of them
	up              int
	scraped, others []status.TargetMatch
}

// job looks for what was asked for among the targets of a job.
func (e *targets) job(job *promconfig.ScrapeConfig) *seen {
	s := &seen{job: job.JobName, named: e.query.text == job.JobName}
	e.scraped(job, s)
	active := e.index(job.JobName)
	for _, group := range e.Groups[job.JobName] {
		for _, own := range group.Targets {
			s.found++
			if !s.named && !e.query.discovered(e.raw(job, own, group.Labels)) {
				continue
			}
			s.total++
			if e.judged >= maxJudged || e.full(maxMatches) {
				e.omitted = true
				continue
			}
			e.judged++
			if m := e.judge(job, own, group.Labels, active); m != nil {
				s.others = append(s.others, *m)
			}
		}
	}
	byAddress := func(a, b status.TargetMatch) int {
		return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Before[model.AddressLabel], b.Before[model.AddressLabel]))
	}
	slices.SortStableFunc(s.scraped, byAddress)
	slices.SortStableFunc(s.others, byAddress)
	return s
}

// scraped finds those that are scraped.
func (e *targets) scraped(job *promconfig.ScrapeConfig, s *seen) {
	limit := e.listed + (maxMatches-e.listed+1)/2
	for _, t := range e.Active[job.JobName] {
		discovered := t.DiscoveredLabels(e.builder)
		if !s.named && !e.query.discovered(discovered.Get) {
			if !e.query.scraped(t) {
				continue
			}
			s.total++ // Those that are meant as discovered are counted there.
		}
		s.up++
		if e.full(limit) {
			e.omitted = true
			continue
		}
		begin(e.builder, job, discovered)
		m := e.told(job, discovered)
		describe(&m, t)
		s.scraped = append(s.scraped, m)
	}
}

// raw gives a label of what was discovered, as relabelling begins with it.
func (e *targets) raw(job *promconfig.ScrapeConfig, own, group model.LabelSet) func(string) string {
	return func(name string) string {
		if value, ok := own[model.LabelName(name)]; ok {
			return string(value)
		}
		value := string(group[model.LabelName(name)])
		switch name {
		case model.SchemeLabel:
			return cmp.Or(value, job.Scheme)
		case model.MetricsPathLabel:
			return cmp.Or(value, job.MetricsPath)
		}
		return value
	}
}

// key is by what the library tells targets of a job apart.
func key(t *scrape.Target, b *labels.Builder) string {
	return fmt.Sprintf("%s %x", t.URL(), t.Labels(b).Hash())
}

func (e *targets) index(job string) func(*scrape.Target) bool {
	var keys map[string]bool
	return func(t *scrape.Target) bool {
		if keys == nil { // Few questions need it.
			keys = make(map[string]bool, len(e.Active[job]))
			for _, t := range e.Active[job] {
				keys[key(t, e.builder)] = true
			}
		}
		return keys[key(t, e.builder)]
	}
}

// judge tells what became of something discovered, or nil when it is scraped:
// it is told already.
func (e *targets) judge(job *promconfig.ScrapeConfig, own, group model.LabelSet, active func(*scrape.Target) bool) *status.TargetMatch {
	final, err := scrape.PopulateLabels(e.builder, job, own, group)
	if err == nil && !final.IsEmpty() && active(scrape.NewTarget(final, job, own, group)) {
		return nil
	}
	scrape.PopulateDiscoveredLabels(e.builder, job, own, group)
	m := e.told(job, standing(e.builder)) // Labels would change their order.
	switch {
	case err != nil:
		m.State, m.Verdict = status.TargetInvalid, "kept by the rules, but cannot be scraped: "+show("", err.Error())
	case final.IsEmpty():
		m.State, m.Verdict = status.TargetDropped, "dropped by "+dropped("relabel_configs", m.Steps)
	default:
		m.State, m.Verdict, m.After = status.TargetPending, "kept by the rules; it will be scraped in a moment", shown(visible(final))
	}
	return &m
}

// told is a target with its steps, the labels to begin with being in the builder.
func (e *targets) told(job *promconfig.ScrapeConfig, discovered labels.Labels) status.TargetMatch {
	m := status.TargetMatch{Job: job.JobName, Before: shown(discovered), After: map[string]string{}}
	m.Steps, _ = Relabel(e.builder, job.RelabelConfigs)
	e.listed++
	for name, value := range m.Before {
		e.bytes += 2 * (len(name) + len(value)) // After is about the same.
	}
	for _, step := range m.Steps {
		e.bytes += len(step.Text)
		for _, c := range step.Changes {
			e.bytes += len(c.Name) + len(c.Before) + len(c.After)
		}
	}
	return m
}

// begin lets stand in b what was discovered, in an order in which the library may
// have it: where a labelmap makes one label of several, the last one stays.
func begin(b *labels.Builder, job *promconfig.ScrapeConfig, discovered labels.Labels) {
	scrape.PopulateDiscoveredLabels(b, job, nil, nil)
	usual, own := standing(b), model.LabelSet{}
	discovered.Range(func(l labels.Label) {
		if usual.Get(l.Name) != l.Value {
			own[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	scrape.PopulateDiscoveredLabels(b, job, own, nil)
}

// full is that no more is told than so many matches, or the bytes there are.
func (e *targets) full(matches int) bool { return e.listed >= matches || e.bytes >= maxBytes }

// describe tells how a target is that is scraped.
func describe(m *status.TargetMatch, t *scrape.Target) {
	m.State, m.URL, m.Health = status.TargetScraped, showURL(t.URL()), string(t.Health())
	m.After = shown(t.Labels(labels.NewBuilder(labels.EmptyLabels())))
	if at := t.LastScrape(); !at.IsZero() {
		m.LastScrape = &at
	}
	switch err := t.LastError(); {
	case err != nil:
		m.LastError = show("", err.Error())
		m.Verdict = "scraped here, but the last scrape failed: " + m.LastError
	case t.Health() == scrape.HealthGood:
		m.Verdict = "scraped here, up"
	default:
		m.Verdict = "scraped here; its first scrape is not over yet"
	}
}

// showURL is u without secrets, be they in the URL that is a parameter of a probe.
func showURL(u *url.URL) string {
	if query, err := url.ParseQuery(u.RawQuery); err == nil {
		for name, values := range query {
			for i, value := range values {
				values[i] = config.HideSecretLabel(model.ParamLabelPrefix+name, value)
			}
		}
		u.RawQuery = query.Encode()
	}
	return cut(config.HideSecrets(u.String()), maxValue)
}

// visible are the labels that a target's series get.
func visible(ls labels.Labels) labels.Labels {
	return scrape.NewTarget(ls, nil, nil, nil).Labels(labels.NewBuilder(labels.EmptyLabels()))
}

// dropped names the rule that dropped, and why.
func dropped(section string, steps []status.RelabelStep) string {
	if len(steps) == 0 || !steps[len(steps)-1].Dropped {
		return section
	}
	last := steps[len(steps)-1]
	var text strings.Builder
	fmt.Fprintf(&text, "rule %d of %s, %s", last.Rule, section, last.Text)
	for i, source := range last.Source {
		fmt.Fprintf(&text, "%s%s is %q", map[bool]string{true: ": ", false: ", "}[i == 0], source.Name, source.Value)
	}
	return text.String()
}

// Discovered tells what the job's rules do to a target with these labels.
func Discovered(job *promconfig.ScrapeConfig, discovered labels.Labels) []status.RelabelStep {
	b := labels.NewBuilder(labels.EmptyLabels())
	begin(b, job, discovered)
	steps, _ := Relabel(b, job.RelabelConfigs)
	return steps
}
