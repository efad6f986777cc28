// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
)

// job tells what a job does to the metric.
func (m *metric) job(j *metricJob) status.MetricJob {
	told := status.MetricJob{
		Job: j.config.JobName, Scraped: j.place.Scraped, By: j.place.By,
		Targets: len(m.Active[j.config.JobName]), Errors: []string{}, SinceStart: m.Totals(j.config.JobName),
	}
	all := passed{dropped: make([]int, len(j.config.MetricRelabelConfigs))}
	now := make([]int, len(j.config.MetricRelabelConfigs))
	heardOf := 0
	for _, h := range j.asked {
		told.Asked++
		if h.err != nil {
			if len(told.Errors) < maxErrors {
				told.Errors = append(told.Errors, show("", h.url+": "+h.err.Error()))
			}
			continue
		}
		heardOf++
		if h.scrape.samples > 0 {
			told.Exposing++
		}
		all.add(h.scrape)
		for i, n := range h.now {
			now[i] += n
		}
	}
	told.Samples, told.Kept, told.Series = all.samples, all.kept, all.told()
	told.Rules = []status.MetricRule{}
	if !m.ownReport() {
		told.Rules = ruleShares(j.config.MetricRelabelConfigs, told.SinceStart.Dropped, now)
	}
	for i := range told.Rules {
		told.Rules[i].Metric = all.dropped[i]
	}
	told.Verdict = m.jobVerdict(j, &told, heardOf)
	return told
}

// ruleShares tells what each rule dropped of the total, which is exact. Which of
// several rules it was the library does not say: then each gets the share that it
// has now.
func ruleShares(rules []*relabel.Config, total int64, now []int) []status.MetricRule {
	told := make([]status.MetricRule, len(rules))
	var able []int
	sum := int64(0)
	for i, rule := range rules {
		told[i] = status.MetricRule{Rule: i + 1, Text: Rule(rule), Now: now[i], Exact: true}
		if canDrop(rule) {
			able = append(able, i)
			sum += int64(now[i])
		}
	}
	switch {
	case total == 0 || len(able) == 0:
		return told
	case len(able) == 1:
		told[able[0]].Dropped = total
		return told
	}
	left := total
	for _, i := range able {
		told[i].Exact, told[i].Unknown = false, sum == 0
		if sum > 0 {
			// In floats: a product of two counts may be larger than they can be.
			told[i].Dropped = int64(float64(total) * float64(now[i]) / float64(sum))
			left -= told[i].Dropped
		}
	}
	if sum > 0 { // What rounding has left goes to the largest.
		largest := slices.MaxFunc(able, func(a, b int) int { return cmp.Compare(now[a], now[b]) })
		told[largest].Dropped += left
	}
	return told
}

func (m *metric) jobVerdict(j *metricJob, told *status.MetricJob, heardOf int) string {
	switch {
	case !told.Scraped:
		return elsewhere(j.place)
	case told.Targets == 0:
		return "it has no targets here"
	case m.ownReport() && told.Asked == 0:
		return "not added to its scrapes: extra_scrape_metrics is not set"
	case m.ownReport():
		return "the agent adds it to each scrape; metric_relabel_configs do not see it"
	case told.Asked == 0:
		return fmt.Sprintf("not asked, %d targets of other jobs were; ask for this job only", maxAsked)
	case heardOf == 0:
		return "no answer: " + told.Errors[0]
	case told.Samples == 0:
		return fmt.Sprintf("not exposed: %s asked, of %d", count(heardOf, "target"), told.Targets)
	}
	text := fmt.Sprintf("%s at %s (%d asked, of %d)", count(told.Samples, "sample"), count(told.Exposing, "target"), heardOf, told.Targets)
	return text + ": " + fate(told.Samples, told.Kept, told.Rules, "metric_relabel_configs")
}

// fate tells what rules made of samples.
func fate(samples, kept int, rules []status.MetricRule, section string) string {
	if kept == samples {
		return "all are kept"
	}
	var by []string
	for _, rule := range rules {
		if rule.Metric > 0 {
			by = append(by, fmt.Sprintf("%d by rule %d of %s, %s", rule.Metric, rule.Rule, section, rule.Text))
		}
	}
	text := fmt.Sprintf("%d kept, %d dropped: ", kept, samples-kept)
	if kept == 0 {
		text = "all are dropped: "
	}
	return text + strings.Join(by, "; ")
}

// destination tells what one does to the metric.
func (m *metric) destination(at int) status.MetricDestination {
	door := m.Doors[at]
	all := passed{dropped: make([]int, len(door.Rules))}
	for _, j := range m.jobs {
		for _, h := range j.asked {
			if h.err == nil {
				all.add(h.doors[at])
			}
		}
	}
	told := status.MetricDestination{
		Name: door.Name, URL: show("", door.URL), Since: door.Since, Rules: []status.MetricRule{},
		Samples: all.samples, Kept: all.kept, Series: all.told(),
	}
	for i, rule := range door.Rules {
		told.Rules = append(told.Rules, status.MetricRule{Rule: i + 1, Text: Rule(rule), Dropped: door.Dropped[i], Exact: true, Metric: all.dropped[i]})
	}
	if told.Samples == 0 {
		told.Verdict = "nothing of it comes here"
	} else {
		told.Verdict = fmt.Sprintf("of %s, %s", count(told.Samples, "sample"), fate(told.Samples, told.Kept, told.Rules, "write_relabel_configs"))
	}
	return told
}

// verdict is the whole in one sentence.
func (m *metric) verdict(told status.MetricExplanation) string {
	var exposing, others []string
	samples, kept, asked, failed := 0, 0, 0, 0
	for _, j := range told.Jobs {
		samples, kept, asked, failed = samples+j.Samples, kept+j.Kept, asked+j.Asked, failed+len(j.Errors)
		switch {
		case j.Samples > 0:
			exposing = append(exposing, j.Job)
		case !j.Scraped:
			others = append(others, j.Job)
		}
	}
	if samples == 0 {
		text := fmt.Sprintf("no job exposes it: %s asked", count(asked, "target"))
		if failed > 0 {
			text += ", not all of which answered"
		}
		if strings.HasPrefix(m.name, "torchbearer_agent_") {
			text = "no job exposes it: the agent writes it about itself"
		}
		if n := len(others); n > 0 {
			text += fmt.Sprintf("; %s scraped by other agents and may: %s", count(n, "job"), strings.Join(others[:min(n, 10)], ", "))
		}
		return text
	}
	var text strings.Builder
	fmt.Fprintf(&text, "exposed by %s: of %s, %d %s kept by metric_relabel_configs",
		count(len(exposing), "job")+" ("+strings.Join(exposing[:min(len(exposing), 10)], ", ")+")", count(samples, "sample"), kept, areOrIs(kept))
	for _, d := range told.Destinations {
		switch {
		case d.Samples == 0:
		case d.Kept == d.Samples:
			fmt.Fprintf(&text, "; all of those go to %s", d.Name)
		default:
			fmt.Fprintf(&text, "; %d of those go to %s", d.Kept, d.Name)
		}
	}
	return text.String()
}

// noSuchJob names those there are.
func (m *metric) noSuchJob(job string) string {
	var names []string
	for _, j := range m.Config.Prometheus.ScrapeConfigs {
		names = append(names, j.JobName)
	}
	more := ""
	if len(names) > 30 {
		names, more = names[:30], " and others"
	}
	return fmt.Sprintf("the config has no job %q; it has %s%s", job, strings.Join(names, ", "), more)
}
