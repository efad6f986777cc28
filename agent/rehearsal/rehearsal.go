// SPDX-License-Identifier: Apache-2.0

// Package rehearsal owns the report of a config that was checked before it is
// applied: what follows from what the stages found out, what differs from what
// runs, and how people read it.
//
// It promises that a report is bounded and fit for a terminal and a browser,
// whatever targets and receivers say, that it shows no secret, and that
// what goes wrong comes first. It asks no stage and changes nothing.
package rehearsal

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// maxFindings bounds the findings of a report; more are counted in one more.
const maxFindings = 500

// ofEachScrape is how many series the agent makes of a scrape itself, also of one
// that fails.
const ofEachScrape = 5

// Refused is the report of a config that is not taken.
func Refused(file string, err error) status.Report {
	r := status.Report{Verdict: status.VerdictBad, File: file}
	if violations, ok := errors.AsType[config.Violations](err); ok {
		for _, v := range violations {
			r.Violations = append(r.Violations, v.String())
		}
	} else {
		r.Violations = []string{err.Error()}
	}
	finish(&r)
	return r
}

// Conclude completes a report by what follows from what was found out: the
// findings, the forecast and the verdict.
func Conclude(r *status.Report) {
	forecast(r)
	for i := range r.Jobs {
		jobFindings(r, &r.Jobs[i])
	}
	seriesFindings(r)
	destinationFindings(r)
	changeFindings(r)
	r.Verdict = status.VerdictGood
	if slices.ContainsFunc(r.Findings, func(f status.Finding) bool { return f.Level == status.LevelWarning }) {
		r.Verdict = status.VerdictWarnings
	}
	slices.SortStableFunc(r.Findings, func(a, b status.Finding) int {
		return cmp.Or(strings.Compare(b.Level, a.Level), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Job, b.Job))
	})
	r.Findings = slices.Compact(r.Findings)
	if more := len(r.Findings) - maxFindings; more > 0 {
		r.Findings = append(r.Findings[:maxFindings], status.Finding{
			Level: status.LevelHint, Kind: "more", Text: plural(more, "more finding") + " left out", Remedy: "mend these first",
		})
	}
	finish(r)
}

// forecast is how many series there were if all targets answered like those of
// their job that did.
func forecast(r *status.Report) {
	r.Series.Forecast = r.Series.Total
	for i := range r.Jobs {
		t := r.Jobs[i].Targets
		if t.Up == 0 {
			continue
		}
		each := max(0, r.Jobs[i].Series-t.Down*ofEachScrape) / t.Up
		r.Series.Forecast += t.NotAsked*each + t.Down*max(0, each-ofEachScrape)
	}
}
