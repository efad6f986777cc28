// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

const (
	maxFailures = 20 // errors of a job that are told apart
	maxExamples = 5  // targets of one error, values of a label
	maxText     = 300
)

// rehearsedJob is what is found out about one job.
type rehearsedJob struct {
	config      *promconfig.ScrapeConfig // in effect
	targetRules *rulebook.Rules
	metricRules *rulebook.Rules
	extra       bool // of the samples that the agent adds
	socket      bool // a target is reached by a unix socket
	urls        map[string]bool

	mu       sync.Mutex // guards the fields below
	report   status.ReportJob
	failures map[string]*status.ReportFailed
}

func newRehearsedJob(job *promconfig.ScrapeConfig) *rehearsedJob {
	return &rehearsedJob{
		config: job,
		// The last rule is the agent's own.
		targetRules: rulebook.New(job.RelabelConfigs[:len(job.RelabelConfigs)-1]),
		metricRules: rulebook.New(job.MetricRelabelConfigs),
		extra:       job.ExtraScrapeMetricsEnabled(),
		urls:        map[string]bool{},
		failures:    map[string]*status.ReportFailed{},
	}
}

// sort finds out what becomes of the targets: as the library does, but that it
// does not tell why.
func (j *rehearsedJob) sort(groups []*targetgroup.Group) {
	type identity struct {
		labels uint64
		url    string
	}
	known := map[identity]bool{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	counts := &j.report.Targets
	pass := j.targetRules.Pass()
	for _, group := range groups {
		for _, target := range group.Targets {
			counts.Discovered++
			scrape.PopulateDiscoveredLabels(builder, j.config, target, group.Labels)
			address := func() string { return cmp.Or(string(target[model.AddressLabel]), "no address") }
			if !pass.Process(builder, address) {
				counts.Dropped++
				continue
			}
			ls, err := scrape.PopulateLabels(builder, j.config, target, group.Labels)
			if err != nil {
				if counts.Invalid++; j.report.InvalidTarget == "" {
					j.report.InvalidTarget = rulebook.Clip(address()+": "+config.HideSecrets(err.Error()), maxText)
				}
				continue
			}
			made := scrape.NewTarget(ls, j.config, target, group.Labels)
			at := identity{ls.Hash(), made.URL().String()}
			switch {
			case made.Labels(builder).IsEmpty():
				counts.Dropped++
			case known[at]:
				counts.Duplicate++
			default:
				known[at] = true
				counts.Kept++
				j.urls[at.url] = true
				j.socket = j.socket || ls.Get(scrape.UnixSocketLabel) != ""
			}
		}
	}
	pass.Count()
}

// check finds what the library refuses a scrape for once its rules are applied.
func (j *rehearsedJob) check(ls labels.Labels) error {
	name := ls.Get(model.MetricNameLabel)
	switch {
	case name == "":
		return errors.New("metric_relabel_configs leave a sample without metric name")
	case !ls.IsValid(j.config.MetricNameValidationScheme):
		return fmt.Errorf("invalid metric name or label names: %s", rulebook.Clip(ls.String(), maxText))
	case j.config.LabelLimit > 0 && uint(ls.Len()) > j.config.LabelLimit:
		return fmt.Errorf("label_limit exceeded: metric %s has %d labels, the limit is %d", rulebook.Clip(name, 50), ls.Len(), j.config.LabelLimit)
	case j.config.LabelNameLengthLimit == 0 && j.config.LabelValueLengthLimit == 0:
		return nil
	}
	return ls.Validate(func(l labels.Label) error {
		if limit := j.config.LabelNameLengthLimit; limit > 0 && uint(len(l.Name)) > limit {
			return fmt.Errorf("label_name_length_limit exceeded: metric %s, label %s has %d bytes, the limit is %d", rulebook.Clip(name, 50), rulebook.Clip(l.Name, 50), len(l.Name), limit)
		}
		if limit := j.config.LabelValueLengthLimit; limit > 0 && uint(len(l.Value)) > limit {
			return fmt.Errorf("label_value_length_limit exceeded: metric %s, the value of label %s has %d bytes, the limit is %d", rulebook.Clip(name, 50), rulebook.Clip(l.Name, 50), len(l.Value), limit)
		}
		return nil
	})
}

// failed notes that a target did not give its samples, while the caller holds mu.
func (j *rehearsedJob) failed(target *scrape.Target, err error) {
	text := rulebook.Clip(config.HideSecrets(plainError(err)), maxText)
	f := j.failures[text]
	if f == nil && len(j.failures) >= maxFailures {
		text = "other errors"
		f = j.failures[text]
	}
	if f == nil {
		f = &status.ReportFailed{Error: text, Targets: []string{}}
		j.failures[text] = f
	}
	f.Count++
	f.Targets = append(f.Targets, targetName(target))
	slices.Sort(f.Targets)
	f.Targets = f.Targets[:min(len(f.Targets), maxExamples)]
}

// plainError is an error without what differs from target to target.
func plainError(err error) string {
	if broken, ok := errors.AsType[*url.Error](err); ok {
		err = broken.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return strings.TrimSpace(op.Op+" "+op.Net) + ": " + op.Err.Error()
	}
	return err.Error()
}

func targetName(target *scrape.Target) string {
	return rulebook.Clip(config.HideSecrets(target.URL().String()), maxText)
}

// told is what was found out.
func (j *rehearsedJob) told() *status.ReportJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &j.report
	r.Targets.NotAsked = r.Targets.Kept - r.Targets.Up - r.Targets.Down
	r.Rules, r.MetricRules = j.targetRules.Report(), j.metricRules.Report()
	r.Failures, r.SilentSD = []status.ReportFailed{}, []string{}
	for _, text := range slices.Sorted(maps.Keys(j.failures)) {
		r.Failures = append(r.Failures, *j.failures[text])
	}
	slices.SortStableFunc(r.Failures, func(a, b status.ReportFailed) int { return b.Count - a.Count })
	return r
}
