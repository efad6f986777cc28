// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"torchbearer/agent/status"
)

// Text writes a report, that Conclude or Refused has made, for people: what is
// wrong first.
func Text(out io.Writer, r *status.Report) error {
	w := &text{}
	w.head(r)
	w.findings(r, status.LevelWarning, "Problems")
	w.findings(r, status.LevelHint, "Hints")
	if r.Verdict != status.VerdictBad {
		w.jobs(r)
		w.rules(r)
		w.owners(r)
		w.destinations(r)
		w.changes(r)
	}
	_, err := io.WriteString(out, w.b.String())
	return err
}

type text struct{ b strings.Builder }

func (w *text) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// table writes rows of cells, aligned.
func (w *text) table(title string, rows [][]string) {
	if len(rows) < 2 {
		return // Only the head.
	}
	w.line("\n%s", title)
	var aligned strings.Builder
	t := tabwriter.NewWriter(&aligned, 0, 1, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(t, "  %s\n", strings.Join(row, "\t"))
	}
	_ = t.Flush() // Into memory.
	for l := range strings.Lines(aligned.String()) {
		w.line("%s", strings.TrimRight(l, " \n"))
	}
}

func (w *text) head(r *status.Report) {
	if r.Verdict == status.VerdictBad {
		w.line("%s: REFUSED", r.File)
		for _, v := range r.Violations {
			w.line("  %s", v)
		}
		return
	}
	warnings, hints := 0, 0
	for i := range r.Findings {
		if r.Findings[i].Level == status.LevelWarning {
			warnings++
		} else {
			hints++
		}
	}
	up, kept := 0, 0
	for i := range r.Jobs {
		up, kept = up+r.Jobs[i].Targets.Up, kept+r.Jobs[i].Targets.Kept
	}
	w.line("%s: %s", r.File, map[string]string{status.VerdictGood: "GOOD", status.VerdictWarnings: "GOOD, WITH WARNINGS"}[r.Verdict])
	w.line("  %s, %s", plural(warnings, "warning"), plural(hints, "hint"))
	w.line("  %d of %s up, %s%s", up, plural(kept, "target"), plural(r.Series.Total, "series"), budget(&r.Series))
	w.line("  external labels: %s", labelText(r.Labels))
	w.line("  took %.1f s; nothing was changed, logged or sent", r.Seconds)
	for _, what := range r.CutOff {
		w.line("  the time was over: %s", what)
	}
}

func budget(s *status.ReportSeries) string {
	var b strings.Builder
	if s.Forecast != s.Total {
		fmt.Fprintf(&b, ", %d to be expected when all are up", s.Forecast)
	}
	if s.Limit > 0 {
		fmt.Fprintf(&b, ", budget %d (%d %%)", s.Limit, s.Forecast*100/s.Limit)
	}
	if s.Running != nil {
		fmt.Fprintf(&b, ", %d at present", *s.Running)
	}
	return b.String()
}

func labelText(ls map[string]string) string {
	pairs := []string{}
	for _, name := range slices.Sorted(maps.Keys(ls)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, ls[name]))
	}
	return cmp.Or(strings.Join(pairs, ", "), "none")
}

func (w *text) findings(r *status.Report, level, title string) {
	first := true
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Level != level {
			continue
		}
		if first {
			w.line("\n%s", title)
			first = false
		}
		where := ""
		if f.Job != "" {
			where = "job " + f.Job + ": "
		}
		w.line("  - %s%s", where, f.Text)
		if f.Remedy != "" {
			w.line("    %s", f.Remedy)
		}
	}
}

func (w *text) jobs(r *status.Report) {
	rows := [][]string{{"job", "discovered", "dropped", "invalid", "up", "down", "not asked", "samples", "dropped", "series", "bytes", "slowest"}}
	for i := range r.Jobs {
		j := &r.Jobs[i]
		if !j.Scraped {
			continue
		}
		t := j.Targets
		rows = append(rows, append([]string{j.Job}, cells(t.Discovered, t.Dropped+t.Duplicate, t.Invalid, t.Up, t.Down, t.NotAsked,
			j.Samples.Scraped, j.Samples.Dropped, j.Series, j.BodyBytes, fmt.Sprintf("%.3f s", j.SlowestScrape))...))
	}
	w.table("Jobs", rows)
}

func cells(values ...any) []string {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = fmt.Sprint(v)
	}
	return row
}

// rules are those that drop something.
func (w *text) rules(r *status.Report) {
	rows := [][]string{{"job or destination", "rule", "drops", "of", "what it says", "for example"}}
	put := func(of, place, things string, rules []status.ReportRule) {
		for _, rule := range rules {
			if rule.Dropped > 0 {
				rows = append(rows, []string{of, fmt.Sprintf("%s %d", place, rule.Rule), strconv.Itoa(rule.Dropped), fmt.Sprintf("%d %s", rule.Seen, things), rule.Text, rule.Example})
			}
		}
	}
	for i := range r.Jobs {
		put(r.Jobs[i].Job, "relabel", "targets", r.Jobs[i].Rules)
		put(r.Jobs[i].Job, "metric_relabel", "samples", r.Jobs[i].MetricRules)
	}
	for i := range r.Destinations {
		put(r.Destinations[i].Name, "write_relabel", "series", r.Destinations[i].Rules)
	}
	w.table("What rules drop", rows)
}

// owners are told where agents share the jobs.
func (w *text) owners(r *status.Report) {
	if r.Scopes.Node == "" && r.Scopes.Lease == nil {
		return
	}
	node := cmp.Or(r.Scopes.Node, "not told, node jobs are whole")
	w.line("\nWho scrapes what (node: %s)", node)
	if l := r.Scopes.Lease; l != nil {
		w.line("  lease %s/%s: %s", l.Namespace, l.Name, cmp.Or(l.Holder, "nobody holds it"))
		if l.Error != "" {
			w.line("  %s", l.Error)
		}
	}
	rows := [][]string{{"job", "scope", "looked at", "owner", "why"}}
	for _, j := range r.Scopes.Jobs {
		looked, owner := "no", cmp.Or(j.By, "another agent")
		if j.Scraped {
			looked, owner = "yes", cmp.Or(j.By, "this agent")
		}
		rows = append(rows, []string{j.Name, j.Scope, looked, owner, j.Reason})
	}
	w.table("Owners", rows)
}

func (w *text) destinations(r *status.Report) {
	rows := [][]string{{"destination", "URL", "protocol", "answer", "status", "series", "took", "words"}}
	for i := range r.Destinations {
		d := &r.Destinations[i]
		rows = append(rows, []string{
			d.Name, d.URL, d.Protocol, d.Verdict, strconv.Itoa(d.Status), strconv.Itoa(d.Series), fmt.Sprintf("%.3f s", d.Seconds),
			strings.Trim(d.Words+"; "+d.Note, "; "),
		})
	}
	w.table("Destinations", rows)
}

func (w *text) changes(r *status.Report) {
	c := r.Changes
	if c == nil {
		return
	}
	w.line("\nChanges against %s", c.Against)
	if c.Same {
		w.line("  none in the config")
	}
	for _, kind := range []struct {
		name string
		list []status.ReportChange
	}{{"external label", c.Labels}, {"job", c.Jobs}, {"destination", c.Destinations}} {
		for _, change := range kind.list {
			w.line("  %s %s: %s %s", kind.name, change.Name, change.Change, strings.Join(change.Fields, ", "))
		}
	}
	for _, other := range c.Other {
		w.line("  %s", other)
	}
	rows := [][]string{{"job", "targets now", "then", "series now", "then"}}
	for _, count := range c.Counts {
		rows = append(rows, []string{count.Job, known(count.TargetsRunning), known(count.Targets), known(count.SeriesRunning), known(count.Series)})
	}
	w.table("Targets and series", rows)
}

// known is a number, or that there is none.
func known[T int | int64](n *T) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatInt(int64(*n), 10)
}
