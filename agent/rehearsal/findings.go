// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"torchbearer/agent/status"
)

// add notes a finding.
func add(r *status.Report, level, kind, job, text, remedy string) {
	r.Findings = append(r.Findings, status.Finding{Level: level, Kind: kind, Job: job, Text: text, Remedy: remedy})
}

// plural is "1 target", "2 targets".
func plural(n int, thing string) string {
	if n != 1 && !strings.HasSuffix(thing, "series") {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

func jobFindings(r *status.Report, j *status.ReportJob) {
	if !j.Scraped {
		return
	}
	t := j.Targets
	for _, kind := range j.SilentSD {
		add(r, status.LevelWarning, "discovery_silent", j.Job, "service discovery sent nothing in time: "+kind,
			"see whether it finds anything, and whether its server answers; more time: --timeout")
	}
	switch {
	case t.Discovered == 0 && len(j.SilentSD) == 0:
		add(r, status.LevelWarning, "no_targets", j.Job, "discovers no targets", "check its service discovery, and what the agent may see")
	case t.Discovered > 0 && t.Kept == 0:
		add(r, status.LevelWarning, "no_targets", j.Job, "keeps none of the "+plural(t.Discovered, "target")+" that it discovers", "see which rule drops them")
	}
	if t.Invalid > 0 {
		add(r, status.LevelWarning, "invalid_targets", j.Job, plural(t.Invalid, "target")+" cannot be scraped as relabelling leaves them: "+j.InvalidTarget, "mend its relabel_configs")
	}
	for _, f := range j.Failures {
		where := ""
		if len(f.Targets) > 0 {
			where = ", at " + strings.Join(f.Targets[:min(2, len(f.Targets))], " and ")
		}
		add(r, status.LevelWarning, "scrape_failed", j.Job, fmt.Sprintf("the scrape fails for %d of %s: %s%s", f.Count, plural(t.Kept, "target"), f.Error, where), "")
	}
	if t.NotAsked > 0 {
		add(r, status.LevelWarning, "not_asked", j.Job, "the time was over before "+plural(t.NotAsked, "target")+" had answered", "allow more time")
	}
	if j.Samples.Repeated > 0 {
		add(r, status.LevelHint, "repeated_samples", j.Job, plural(j.Samples.Repeated, "sample")+" would not be taken: the target repeats a series, or is far ahead of time", "")
	}
	if j.SeriesLimit > 0 && j.Series > j.SeriesLimit {
		add(r, status.LevelWarning, "over_job_budget", j.Job, fmt.Sprintf("has %d series, its limit is %d: new ones would be refused", j.Series, j.SeriesLimit),
			"drop metrics by metric_relabel_configs, or raise the limit")
	}
}

func seriesFindings(r *status.Report) {
	for _, c := range r.Collisions {
		jobs, text := strings.Join(c.Jobs, " and "), ""
		switch {
		case c.SameScrape:
			text = fmt.Sprintf("relabelling makes %d series of one target the same as another of its series; one sample of each is lost", c.Series)
		case len(c.Jobs) == 1:
			text = fmt.Sprintf("targets of it make the same %d series", c.Series)
		default:
			text = fmt.Sprintf("jobs %s make the same %d series: duplicate job output", jobs, c.Series)
		}
		if len(c.Examples) > 0 {
			text += ", for example " + c.Examples[0]
		}
		remedy := "keep a label that tells them apart, such as instance or job"
		if c.SameScrape {
			remedy = "do not drop the label that tells them apart, or drop all of the series but one"
		}
		add(r, status.LevelWarning, "colliding_series", c.Jobs[0], text, remedy)
	}
	for _, s := range r.Spoofed {
		text := fmt.Sprintf("sets the mandatory label %s itself (%s) on %s of %s; it is kept as exported_%s", s.Label,
			strings.Join(s.Values, ", "), plural(s.Samples, "sample"), plural(s.Targets, "target"), s.Label)
		if s.Relabelled {
			add(r, status.LevelWarning, "mandatory_label_set", s.Job, text, "remove the label from discovery and relabel_configs: the external label is added anyway")
			continue
		}
		add(r, status.LevelHint, "mandatory_label_set", s.Job, text, "for federation: agent.trusted_label_jobs")
	}
	limit := r.Series.Limit
	switch {
	case limit > 0 && r.Series.Forecast > limit:
		add(r, status.LevelWarning, "over_budget", "", fmt.Sprintf("%d series are to be expected, agent.limits.max_series is %d: new ones would be refused", r.Series.Forecast, limit),
			"drop metrics by metric_relabel_configs, or raise the limit")
	case limit > 0 && r.Series.Forecast > limit*9/10:
		add(r, status.LevelHint, "near_budget", "", fmt.Sprintf("%d series are to be expected, agent.limits.max_series is %d", r.Series.Forecast, limit), "")
	}
}

func destinationFindings(r *status.Report) {
	for _, d := range r.Destinations {
		if d.Verdict != status.ProbeOK {
			text := fmt.Sprintf("destination %s, %s at %s", d.Name, d.Verdict, d.URL)
			if d.Status > 0 {
				text += fmt.Sprintf(" with HTTP status %d", d.Status)
			}
			if d.Words != "" {
				text += " and the words: " + d.Words
			}
			add(r, status.LevelWarning, "destination_"+strings.ReplaceAll(strings.ToLower(d.Verdict), " ", "_"), "", text, d.Note)
		}
		if d.Series == 0 && r.Series.Total > 0 {
			add(r, status.LevelWarning, "destination_gets_nothing", "", fmt.Sprintf("destination %s would be sent none of the %d series", d.Name, r.Series.Total), "see its write_relabel_configs")
		}
	}
}

func changeFindings(r *status.Report) {
	if r.Changes == nil {
		return
	}
	for _, l := range r.Changes.Labels {
		add(r, status.LevelWarning, "external_label_changed", "", fmt.Sprintf("the external label %s is %s (%s): every series becomes a new one at the receivers", l.Name, l.Change, strings.Join(l.Fields, " → ")), "")
	}
	for _, c := range r.Changes.Counts {
		if c.Targets == nil || c.TargetsRunning == nil || *c.Targets > 0 || *c.TargetsRunning == 0 {
			continue
		}
		if slices.ContainsFunc(r.Changes.Jobs, func(j status.ReportChange) bool { return j.Name == c.Job && j.Change == "removed" }) {
			continue // That is meant.
		}
		add(r, status.LevelWarning, "loses_all_targets", c.Job, "loses all "+plural(*c.TargetsRunning, "target")+" that it has now", "")
	}
}
