// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

const metricConfig = `
- job_name: app
  metric_relabel_configs:
  - {source_labels: [__name__], regex: noise, action: drop}
  - {source_labels: [code], regex: '20[2-4]', action: drop}
  - {source_labels: [__name__], regex: old_name, target_label: __name__, replacement: new_name}
- job_name: single
  metric_relabel_configs: [{source_labels: [__name__], regex: req, action: drop}]
- job_name: broken
- job_name: empty
- job_name: elsewhere
`

// metricsAgent exposes at each target of app and single 10 req, 5 noise and
// an old_name; those of broken do not answer.
func metricsAgent(tb testing.TB) Metrics {
	tb.Helper()
	targets := func(addresses ...string) []*targetgroup.Group {
		g := &targetgroup.Group{}
		for _, a := range addresses {
			g.Targets = append(g.Targets, model.LabelSet{"__address__": model.LabelValue(a)})
		}
		return []*targetgroup.Group{g}
	}
	known := knows(tb, metricConfig, map[string][]*targetgroup.Group{"app": targets("a:1", "a:2"), "single": targets("b:1"), "broken": targets("c:1")})
	known.Scopes.Jobs[4] = status.Job{Name: "elsewhere", Scope: "cluster", By: "agent-b", Reason: "another agent holds the lease"}
	return Metrics{
		Config: known.Config, Active: known.Active, Scopes: known.Scopes,
		Ask: func(_ context.Context, job *promconfig.ScrapeConfig, target *scrape.Target, each func(func() *labels.Builder)) error {
			if job.JobName == "broken" {
				return errors.New("it is broken")
			}
			sample := func(name string, more ...string) {
				each(func() *labels.Builder {
					lb := labels.NewBuilder(labels.FromStrings(append(more, "__name__", name)...))
					target.LabelsRange(func(l labels.Label) { lb.Set(l.Name, l.Value) })
					return lb
				})
			}
			for code := range 10 {
				sample("req", "code", strconv.Itoa(200+code))
			}
			for i := range 5 {
				sample("noise", "i", strconv.Itoa(i))
			}
			sample("old_name")
			return nil
		},
		Totals: func(job string) status.MetricTotals {
			return map[string]status.MetricTotals{
				"app":    {Since: time.Unix(1, 0), Scraped: 1600, Dropped: 801},
				"single": {Since: time.Unix(1, 0), Scraped: 160, Dropped: 100},
			}[job]
		},
		Logged: func(job string, ls labels.Labels) labels.Labels {
			if job == "app" {
				return labels.NewBuilder(ls).Set("logged", "yes").Labels()
			}
			return ls
		},
		Doors: []Door{
			{
				Name: "central", URL: "http://central/w", Since: time.Unix(2, 0), Dropped: []int64{77},
				Rules: rules(tb, "- {source_labels: [cluster, code], regex: 'eu;201', action: drop}"),
				Enter: func(lb *labels.Builder, logged labels.Labels) { lb.Reset(logged); lb.Set("cluster", "eu") },
				Leave: func(lb *labels.Builder, _ labels.Labels) { lb.Set("left", "yes") },
			},
			{Name: "all", URL: "http://all/w", Enter: func(lb *labels.Builder, logged labels.Labels) { lb.Reset(logged) }, Leave: func(*labels.Builder, labels.Labels) {}},
		},
	}
}

func TestMetric(t *testing.T) {
	known := metricsAgent(t)
	told := Metric(t.Context(), " req ", "", known)
	if want := "exposed by 2 jobs (app, single): of 20 samples, 7 are kept by metric_relabel_configs; 6 of those go to central; all of those go to all"; told.Verdict != want {
		t.Errorf("the verdict is %q, want %q", told.Verdict, want)
	}
	type job struct {
		asked, exposing, samples, kept int
		rules                          string
		verdict                        string
	}
	got := map[string]job{}
	for _, j := range told.Jobs {
		got[j.Job] = job{j.Asked, j.Exposing, j.Samples, j.Kept, ruleText(j.Rules), j.Verdict}
	}
	// Of 801 samples that app has dropped noise has 5 parts of 8.
	want := map[string]job{
		"app":       {1, 1, 10, 7, "1: about 501, 0 of 5 now; 2: about 300, 3 of 3 now; 3: 0, 0 of 0 now", "10 samples at 1 target (1 asked, of 2): 7 kept, 3 dropped: 3 by rule 2 of metric_relabel_configs, {source_labels: [code], regex: '20[2-4]', action: drop}"},
		"single":    {1, 1, 10, 0, "1: 100, 10 of 10 now", "10 samples at 1 target (1 asked, of 1): all are dropped: 10 by rule 1 of metric_relabel_configs, {source_labels: [__name__], regex: req, action: drop}"},
		"broken":    {1, 0, 0, 0, "", "no answer: http://c:1/metrics: it is broken"},
		"empty":     {0, 0, 0, 0, "", "it has no targets here"},
		"elsewhere": {0, 0, 0, 0, "", "scraped by agent-b: another agent holds the lease; ask that agent"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(job{})); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	checkMetric(t, told)
}

func ruleText(all []status.MetricRule) string {
	var parts []string
	for _, r := range all {
		dropped := strconv.FormatInt(r.Dropped, 10)
		if !r.Exact {
			dropped = "about " + dropped
		}
		if r.Unknown {
			dropped = "unknown"
		}
		parts = append(parts, fmt.Sprintf("%d: %s, %d of %d now", r.Rule, dropped, r.Metric, r.Now))
	}
	return strings.Join(parts, "; ")
}

// checkMetric looks for what must be so of all answers.
func checkMetric(t *testing.T, told status.MetricExplanation) {
	t.Helper()
	for _, j := range told.Jobs {
		sum, dropped := int64(0), 0
		for _, r := range j.Rules {
			sum += r.Dropped
			dropped += r.Metric
		}
		if known := len(j.Rules) > 0 && !j.Rules[0].Unknown; known && sum != j.SinceStart.Dropped {
			t.Errorf("job %s: the rules dropped %d, in all %d were dropped", j.Job, sum, j.SinceStart.Dropped)
		}
		if j.Samples != j.Kept+dropped {
			t.Errorf("job %s: of %d samples %d were kept and %d dropped", j.Job, j.Samples, j.Kept, dropped)
		}
		checkExamples(t, j.Series)
	}
	for _, d := range told.Destinations {
		checkExamples(t, d.Series)
	}
	var text bytes.Buffer
	if err := WriteMetric(&text, told); err != nil || !utf8.Valid(text.Bytes()) || strings.ContainsAny(text.String(), "\x1b\r") {
		t.Errorf("%v in\n%s", err, text.String())
	}
	if _, err := json.Marshal(told); err != nil {
		t.Error(err)
	}
}

func checkExamples(t *testing.T, all []status.MetricExample) {
	t.Helper()
	if len(all) > maxExamples {
		t.Errorf("%d examples", len(all))
	}
	for _, e := range all {
		last := len(e.Steps) - 1
		if e.Dropped != (last >= 0 && e.Steps[last].Dropped) || e.Dropped != (len(e.After) == 0) {
			t.Errorf("the steps do not end as the example does: %+v", e)
		}
	}
}

func TestMetricOfADestination(t *testing.T) {
	told := Metric(t.Context(), "req", "app", metricsAgent(t))
	if len(told.Jobs) != 1 || told.Jobs[0].Asked != 2 || told.Jobs[0].Samples != 20 {
		t.Fatalf("got %+v, want the two targets of app", told.Jobs)
	}
	d := told.Destinations[0]
	if d.Samples != 14 || d.Kept != 12 || ruleText(d.Rules) != "1: 77, 2 of 0 now" || !d.Since.Equal(time.Unix(2, 0)) {
		t.Errorf("got %+v", d)
	}
	if want := `of 14 samples, 12 kept, 2 dropped: 2 by rule 1 of write_relabel_configs, {source_labels: [cluster, code], regex: eu;201, action: drop}`; d.Verdict != want {
		t.Errorf("the verdict is %q, want %q", d.Verdict, want)
	}
	var after map[string]string
	for _, e := range d.Series {
		if !e.Dropped {
			after = e.After
		}
	}
	if want := map[string]string{"__name__": "req", "cluster": "eu", "code": "205", "instance": "a:1", "job": "app", "left": "yes", "logged": "yes"}; !cmp.Equal(want, after) {
		t.Errorf("a series leaves as %v, want %v", after, want)
	}
	checkMetric(t, told)
}

// TestMetricByEitherName: a metric is found by the name that targets expose and
// by the one that rules give it.
func TestMetricByEitherName(t *testing.T) {
	for name, samples := range map[string]int{"old_name": 2, "new_name": 2, "noise": 10, "none": 0} {
		told := Metric(t.Context(), name, "app", metricsAgent(t))
		if got := told.Jobs[0].Samples; got != samples {
			t.Errorf("%s: %d samples, want %d", name, got, samples)
		}
		checkMetric(t, told)
	}
	for _, tc := range []struct{ name, job, verdict string }{
		{"none", "", "no job exposes it: 3 targets asked, not all of which answered; 1 job scraped by other agents and may: elsewhere"},
		{"none", "app", "no job exposes it: 2 targets asked"},
		{"req", "bogus", `the config has no job "bogus"; it has app, single, broken, empty, elsewhere`},
		{"torchbearer_agent_info", "", "no job exposes it: the agent writes it about itself; 1 job"},
	} {
		if got := Metric(t.Context(), tc.name, tc.job, metricsAgent(t)).Verdict; !strings.HasPrefix(got, tc.verdict) {
			t.Errorf("%s of %q: the verdict is %q, want %q", tc.name, tc.job, got, tc.verdict)
		}
	}
}

// TestUpIsKnownWithoutAsking: what the agent adds to scrapes is not exposed.
func TestUpIsKnownWithoutAsking(t *testing.T) {
	known := metricsAgent(t)
	known.Ask = nil
	told := Metric(t.Context(), "up", "", known)
	if !strings.HasPrefix(told.Verdict, "exposed by 3 jobs (app, single, broken): of 4 samples, 4 are kept") || len(told.Jobs[0].Rules) != 0 || told.Destinations[0].Kept != 4 {
		t.Errorf("got %+v", told)
	}
	if told := Metric(t.Context(), "scrape_timeout_seconds", "", known); !strings.HasPrefix(told.Verdict, "no job exposes it") {
		t.Errorf("got %+v", told)
	}
}

// TestMetricAsksFewTargets: what a question costs is bounded, however many
// targets and jobs there are, and whatever they say.
func TestMetricAsksFewTargets(t *testing.T) {
	var text strings.Builder
	groups := map[string][]*targetgroup.Group{}
	for j := range 40 {
		name := fmt.Sprintf("job-%d", j)
		fmt.Fprintf(&text, "- job_name: %s\n", name)
		g := &targetgroup.Group{}
		for i := range 500 {
			g.Targets = append(g.Targets, model.LabelSet{"__address__": model.LabelValue(fmt.Sprintf("h:%d", i+1))})
		}
		groups[name] = []*targetgroup.Group{g}
	}
	many := knows(t, text.String(), groups)
	known := metricsAgent(t)
	asked := make(chan string, 1000)
	known.Config, known.Active, known.Scopes = many.Config, many.Active, many.Scopes
	known.Ask = func(_ context.Context, job *promconfig.ScrapeConfig, _ *scrape.Target, each func(func() *labels.Builder)) error {
		asked <- job.JobName
		for i := range 20 {
			ls := labels.FromStrings("__name__", "app", "evil", "<script>\x1b[31m\n\xff"+strings.Repeat("x", 100_000), "i", strconv.Itoa(i))
			each(func() *labels.Builder { return labels.NewBuilder(ls) })
		}
		return nil
	}
	told := Metric(t.Context(), "app", "", known)
	if n := len(asked); n != maxAsked {
		t.Errorf("%d targets were asked, want %d", n, maxAsked)
	}
	if last := told.Jobs[39]; !strings.Contains(last.Verdict, "not asked, 24 targets of other jobs were") {
		t.Errorf("the last job's verdict is %q", last.Verdict)
	}
	body, err := json.Marshal(told)
	if err != nil || len(body) > 1<<20 {
		t.Errorf("the answer has %d bytes, %v", len(body), err)
	}
	checkMetric(t, told)
	for len(asked) > 0 {
		<-asked
	}
	Metric(t.Context(), "app", "job-39", known)
	if n := len(asked); n != maxAskedOfJob {
		t.Errorf("%d targets of one job were asked, want %d", n, maxAskedOfJob)
	}
}
