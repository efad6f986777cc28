// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"torchbearer/agent/status"
)

// writer writes lines for people. It keeps the first error.
type writer struct {
	to  io.Writer
	err error
}

func (w *writer) line(indent int, format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.to, strings.Repeat("  ", indent)+format+"\n", args...)
	}
}

// columns writes rows with aligned columns.
func (w *writer) columns(indent int, rows [][]string) {
	if w.err != nil {
		return
	}
	table := tabwriter.NewWriter(w.to, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, w.err = fmt.Fprintln(table, strings.Repeat("  ", indent)+strings.Join(row, "\t")); w.err != nil {
			return
		}
	}
	w.err = table.Flush()
}

// plain is a text without what steers a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// name is one of a label or a job: quoted where it is a strange one.
func name(text string) string {
	if quoted := strconv.Quote(text); len(quoted) != len(text)+2 || text == "" || strings.ContainsAny(text, " \t") {
		return quoted
	}
	return text
}

func (w *writer) labels(indent int, ls map[string]string) {
	var rows [][]string
	for _, label := range slices.Sorted(maps.Keys(ls)) {
		rows = append(rows, []string{name(label), strconv.Quote(ls[label])})
	}
	w.columns(indent, rows)
}

// steps writes what rules did, one after the other.
func (w *writer) steps(indent int, steps []status.RelabelStep) {
	for _, s := range steps {
		fate := ""
		if s.Dropped {
			fate = "  DROPPED"
		}
		w.line(indent, "rule %d  %s%s", s.Rule, plain(s.Text), fate)
		var rows [][]string
		for _, source := range s.Source {
			rows = append(rows, []string{"reads", name(source.Name), strconv.Quote(source.Value)})
		}
		for _, c := range s.Changes {
			rows = append(rows, []string{"sets", name(c.Name), strconv.Quote(c.Before) + " -> " + strconv.Quote(c.After)})
		}
		if s.Omitted > 0 {
			rows = append(rows, []string{"sets", fmt.Sprintf("%d more", s.Omitted), ""})
		}
		if len(s.Changes) == 0 && !s.Dropped {
			rows = append(rows, []string{"changes nothing"})
		}
		w.columns(indent+1, rows)
	}
}

// WriteTarget writes an explanation as text.
func WriteTarget(to io.Writer, told status.TargetExplanation) error {
	w := &writer{to: to}
	w.line(0, "%s", plain(told.Verdict))
	for _, m := range told.Matches {
		what := m.URL
		if what == "" {
			what = m.Before["__address__"]
		}
		w.line(0, "\n%s  (job %s)", plain(what), name(m.Job))
		w.line(1, "%s", plain(m.Verdict))
		if m.LastScrape != nil {
			w.line(1, "last scrape %s", m.LastScrape.UTC().Format(time.RFC3339))
		}
		w.line(1, "discovered as")
		w.labels(2, m.Before)
		w.steps(1, m.Steps)
		if len(m.After) > 0 {
			w.line(1, "its series have")
			w.labels(2, m.After)
		}
	}
	if told.Truncated {
		w.line(0, "\n%d targets are meant; %d of them are told.", told.Total, len(told.Matches))
	}
	if len(told.Jobs) > 0 {
		w.line(0, "")
		rows := [][]string{{"JOB", "SCOPE", "HERE", "FOUND", "MEANT", "DROPPED", "VERDICT"}}
		for _, j := range told.Jobs {
			rows = append(rows, []string{
				name(j.Job), plain(j.Scope), yes(j.Scraped), strconv.Itoa(j.Found), strconv.Itoa(j.Sees), strconv.Itoa(j.Dropped), plain(j.Verdict),
			})
		}
		w.columns(0, rows)
	}
	return w.err
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// WriteMetric writes an explanation as text.
func WriteMetric(to io.Writer, told status.MetricExplanation) error {
	w := &writer{to: to}
	w.line(0, "%s", plain(told.Verdict))
	var rest [][]string
	for _, j := range told.Jobs {
		if j.Samples == 0 && told.Job == "" {
			rest = append(rest, []string{name(j.Job), plain(j.Verdict)})
			continue
		}
		w.line(0, "\njob %s: %s", name(j.Job), plain(j.Verdict))
		for _, problem := range j.Errors {
			w.line(1, "no answer from %s", plain(problem))
		}
		if t := j.SinceStart; !t.Since.IsZero() && len(j.Rules) > 0 {
			w.line(1, "metric_relabel_configs dropped %d of %d samples of all metrics since %s", t.Dropped, t.Scraped, t.Since.UTC().Format(time.RFC3339))
		}
		w.rules(1, j.Rules)
		w.examples(1, j.Series)
	}
	for _, d := range told.Destinations {
		w.line(0, "\ndestination %s (%s): %s", name(d.Name), plain(d.URL), plain(d.Verdict))
		w.rules(1, d.Rules)
		w.examples(1, d.Series)
	}
	if len(rest) > 0 {
		w.line(0, "")
		w.columns(0, append([][]string{{"OTHER JOB", "VERDICT"}}, rest...))
	}
	return w.err
}

// rules writes what each dropped.
func (w *writer) rules(indent int, rules []status.MetricRule) {
	if len(rules) == 0 {
		return
	}
	rows := [][]string{{"RULE", "DROPPED (ALL METRICS)", "IN ONE SCRAPE (THIS METRIC)", ""}}
	for _, r := range rules {
		dropped := strconv.FormatInt(r.Dropped, 10)
		switch {
		case r.Unknown:
			dropped = "not known"
		case !r.Exact:
			dropped = "about " + dropped
		}
		rows = append(rows, []string{strconv.Itoa(r.Rule), dropped, strconv.Itoa(r.Metric), plain(r.Text)})
	}
	w.columns(indent, rows)
}

func (w *writer) examples(indent int, all []status.MetricExample) {
	for _, e := range all {
		w.line(indent, "for example %s", series(e.Before))
		if e.Target != "" {
			w.line(indent+1, "of %s", plain(e.Target))
		}
		w.steps(indent+1, e.Steps)
		if !e.Dropped {
			w.line(indent+1, "goes on as %s", series(e.After))
		}
	}
}

// series is a set of labels on one line.
func series(ls map[string]string) string {
	var parts []string
	for _, label := range slices.Sorted(maps.Keys(ls)) {
		if label != "__name__" {
			parts = append(parts, name(label)+"="+strconv.Quote(ls[label]))
		}
	}
	return fmt.Sprintf("%s{%s}", name(ls["__name__"]), strings.Join(parts, ", "))
}
