// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
)

// counts are those of a job.
type counts struct {
	active, dropped, series, scraped, kept int
}

// TestDryRunCountsWhatTheReloadBrings: what a dry run says of targets, samples
// and series is what there is after the reload.
func TestDryRunCountsWhatTheReloadBrings(t *testing.T) {
	n, rc := newNeighbourhood(t), newReceiver(t)
	head := configText(rc.URL, v2)
	a := start(t, t.TempDir(), head+"  []\n", nil)
	until(t, "ready", func() bool { return a.Ready() == nil })
	write(t, a.file, n.names.Replace("global:\n  scrape_interval: 2s\n  scrape_timeout: 2s\n"+strings.TrimPrefix(head, "global:\n")+`
- job_name: plain
  static_configs: [{targets: [TARGET, SPOOFER, DEAD, BROKEN]}]
- job_name: rules
  static_configs: [{targets: [TARGET, DEAD]}]
  relabel_configs:
  - {source_labels: [__address__], regex: DEAD, action: drop}
  - {source_labels: [__address__], target_label: environment}
  metric_relabel_configs:
  - {source_labels: [path], regex: /cart, action: drop}
  - {source_labels: [code], regex: "200", target_label: code, replacement: ok}
- job_name: honours
  honor_labels: true
  extra_scrape_metrics: true
  static_configs: [{targets: [SPOOFER]}, {targets: [SPOOFER], labels: {zone: b}}]
- job_name: loses
  static_configs: [{targets: [TARGET]}]
  metric_relabel_configs: [{regex: path, action: labeldrop}]
- job_name: limited
  sample_limit: 2
  static_configs: [{targets: [TARGET, SPOOFER]}]
`))
	report, err := a.DryRun(t.Context())
	if err != nil || report.Verdict != status.VerdictWarnings {
		t.Fatalf("the dry run says %+v, %v", report, err)
	}
	want := map[string]counts{}
	total := 0
	for _, j := range report.Jobs {
		want[j.Job] = counts{j.Targets.Kept, j.Targets.Dropped, j.Series, j.Samples.Scraped, j.Samples.Kept}
		total += j.Series
	}
	if total != report.Series.Total || total < 40 {
		t.Errorf("%d series of all jobs, %d together", total, report.Series.Total)
	}

	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got map[string]counts
	until(t, "every target is scraped twice", func() bool {
		got = counted(a, rc)
		for name := range want {
			if len(rc.Values("up", name)) < 2*want[name].active {
				return false
			}
		}
		return true
	})
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(counts{})); diff != "" {
		t.Errorf("the dry run said (-), and there is (+):\n%s", diff)
	}
	again, err := a.DryRun(t.Context())
	if err != nil || !again.Changes.Same || again.Series.Running == nil || *again.Series.Running < int64(total) {
		t.Errorf("a dry run of what runs says %+v, %+v, %v", again.Changes, again.Series, err)
	}
	for _, c := range again.Changes.Counts {
		if c.Job == "limited" {
			continue // The log knows for a while what it was given before the limit was reached, and had to give back.
		}
		if *c.Series != *c.SeriesRunning || *c.Targets != *c.TargetsRunning {
			t.Errorf("job %s: %d series and %d targets are there, the dry run says %d and %d", c.Job, *c.SeriesRunning, *c.TargetsRunning, *c.Series, *c.Targets)
		}
	}
}

// counted is what there is.
func counted(a *running, rc *receiver) map[string]counts {
	all := map[string]counts{}
	for name, active := range a.Scrapes().TargetsActive() {
		all[name] = counts{active: len(active), dropped: a.Scrapes().TargetsDroppedCounts()[name]}
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	last := map[string]float64{}
	for _, s := range rc.samples {
		last[s.series] = s.value
	}
	up := map[string]bool{}
	key := func(ls labels.Labels) string {
		return labels.NewBuilder(ls).Del("__name__").Labels().String()
	}
	for text, ls := range rc.labels {
		up[key(ls)] = up[key(ls)] || ls.Get("__name__") == "up" && last[text] == 1
	}
	for text, ls := range rc.labels {
		c, known := all[ls.Get("job")]
		if !known {
			continue
		}
		c.series++
		switch name := ls.Get("__name__"); {
		case name == "scrape_samples_scraped" && up[key(ls)]:
			c.scraped += int(last[text])
		case name == "scrape_samples_post_metric_relabeling" && up[key(ls)]:
			c.kept += int(last[text])
		}
		all[ls.Get("job")] = c
	}
	return all
}

// metricsText is all metrics of the agent, without those of the moment.
func metricsText(t *testing.T, a *running) []string {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		var b strings.Builder
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(b.String(), "\n")...)
	}
	return slices.DeleteFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "#") || strings.Contains(l, "timestamp") || strings.Contains(l, "backlog_seconds")
	})
}

// TestDryRunChangesNothing: neither what runs, nor what is counted, nor what is logged.
func TestDryRunChangesNothing(t *testing.T) {
	n := newNeighbourhood(t)
	one := n.names.Replace(`global: {scrape_interval: 1d, scrape_timeout: 1m, external_labels: {clustername: c, environment: e}}
remote_write: [{name: central, url: "http://RECEIVER/write"}]
scrape_configs:
- {job_name: app, static_configs: [{targets: [TARGET]}]}
`)
	a := start(t, t.TempDir(), one, nil)
	until(t, "the target is known", func() bool { return len(a.Scrapes().TargetsActive()["app"]) == 1 && a.Ready() == nil })
	until(t, "discovery is at rest", func() bool {
		before := metricsText(t, a)
		return slices.ContainsFunc(before, func(l string) bool { return strings.HasPrefix(l, "prometheus_target_scrape_pool_targets") || l != "" }) && slices.Equal(before, metricsText(t, a))
	})
	before, config, hash, end := metricsText(t, a), a.Config(), a.running.Hash(), a.wal.End()
	write(t, a.file, strings.Replace(strings.ReplaceAll(one, "clustername: c", "clustername: d"), "job_name: app", "job_name: other", 1))
	report, err := a.DryRun(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, metricsText(t, a)); diff != "" {
		t.Errorf("metrics changed (-before +after):\n%s", diff)
	}
	if a.Config() != config || a.running.Hash() != hash || a.wal.End() != end || a.Notice() != "" || a.Ready() != nil {
		t.Errorf("the agent is not as before: %s, %v, %q, %v", a.Config(), a.wal.End(), a.Notice(), a.Ready())
	}
	if len(a.Scrapes().TargetsActive()["app"]) != 1 || len(a.Scrapes().TargetsActive()) != 1 {
		t.Errorf("the targets are %v", a.Scrapes().TargetsActive())
	}
	want := &status.ReportChanges{
		Against: "the running config",
		Labels:  []status.ReportChange{{Name: "clustername", Change: "changed", Fields: []string{"c", "d"}}},
		Jobs: []status.ReportChange{
			{Name: "app", Change: "removed", Fields: []string{}}, {Name: "other", Change: "added", Fields: []string{}},
		},
		Destinations: []status.ReportChange{}, Other: []string{}, Counts: report.Changes.Counts,
	}
	if diff := cmp.Diff(want, report.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := report.Changes.Counts; len(got) != 2 || *got[0].Targets != 1 || *got[0].TargetsRunning != 0 || *got[1].Targets != 0 || *got[1].TargetsRunning != 1 {
		t.Errorf("counts are %+v", got)
	}

	write(t, a.file, "nonsense")
	report, err = a.DryRun(t.Context())
	if err != nil || report.Verdict != status.VerdictBad || len(report.Violations) == 0 {
		t.Errorf("a dry run of nonsense says %+v, %v", report, err)
	}
	if diff := cmp.Diff(before, metricsText(t, a)); diff != "" || a.Notice() != "" {
		t.Errorf("a bad file changed the metrics (-before +after):\n%s\nnotice: %q", diff, a.Notice())
	}
}

// TestDryRunsOneAtATimeAndReloadsBesideThem: a second one is told to come again, a
// reload is not kept waiting, and a stop ends it.
func TestDryRunsOneAtATimeAndReloadsBesideThem(t *testing.T) {
	asked := make(chan struct{}, 100)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	tg, rc := newTarget(t, ""), newReceiver(t)
	one := configText(rc.URL, v2, job("app", tg.Address(), ""))
	a := start(t, t.TempDir(), one, nil)
	until(t, "ready", func() bool { return a.Ready() == nil })
	hanging := fmt.Sprintf("  - job_name: slow\n    scrape_timeout: 1m\n    scrape_interval: 1m\n    static_configs: [{targets: [%q]}]\n", strings.TrimPrefix(slow.URL, "http://"))
	write(t, a.file, configText(rc.URL, v2, job("app", tg.Address(), ""), hanging))
	type result struct {
		report status.Report
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		report, err := a.DryRun(context.Background())
		ended <- result{report, err}
	}()
	<-asked
	var busy *BusyError
	if _, err := a.DryRun(t.Context()); !errors.As(err, &busy) || !busy.Busy() {
		t.Errorf("a second dry run says %v", err)
	}
	write(t, a.file, one+"\n# changed\n")
	if err := a.Reload(t.Context()); err != nil {
		t.Errorf("a reload beside it: %v", err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	r := <-ended
	if r.err != nil || len(r.report.Jobs) != 2 || r.report.Jobs[1].Targets.NotAsked != 1 {
		t.Errorf("the dry run that was cut off says %+v, %v", r.report, r.err)
	}
}
