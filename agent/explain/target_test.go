// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// knows is an agent that has this config, discovered these targets, and scrapes
// those that the library keeps.
func knows(tb testing.TB, text string, groups map[string][]*targetgroup.Group) Targets {
	tb.Helper()
	cfg, err := promconfig.Load("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"+text, promslog.NewNopLogger())
	if err != nil {
		tb.Fatal(err)
	}
	known := Targets{
		Config: &config.Config{Prometheus: cfg}, Groups: groups,
		Active: map[string][]*scrape.Target{}, Dropped: map[string]int{},
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, job := range cfg.ScrapeConfigs {
		known.Scopes.Jobs = append(known.Scopes.Jobs, status.Job{Name: job.JobName, Scope: "cluster", Scraped: true, Reason: "this agent holds the lease"})
		for _, group := range groups[job.JobName] {
			for _, own := range group.Targets {
				switch ls, err := scrape.PopulateLabels(b, job, own, group.Labels); {
				case err != nil:
				case ls.IsEmpty():
					known.Dropped[job.JobName]++
				default:
					known.Active[job.JobName] = append(known.Active[job.JobName], scrape.NewTarget(ls, job, own, group.Labels))
				}
			}
		}
	}
	return known
}

const podsConfig = `
- job_name: pods
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_phase], regex: Failed, action: drop}
  - {source_labels: [__meta_kubernetes_pod_annotation_scrape], regex: 'true', action: keep}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- job_name: probe
  params: {target: [x], token: [hunter2]}
  metrics_path: /probe
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__address__], target_label: instance}
  - {target_label: __address__, replacement: 'prober:9115'}
- job_name: elsewhere
`

func pod(name, address, phase, scrapeIt string) model.LabelSet {
	return model.LabelSet{
		"__address__": model.LabelValue(address), "__meta_kubernetes_pod_name": model.LabelValue(name),
		"__meta_kubernetes_pod_phase": model.LabelValue(phase), "__meta_kubernetes_pod_annotation_scrape": model.LabelValue(scrapeIt),
	}
}

func podsAgent(tb testing.TB) Targets {
	tb.Helper()
	known := knows(tb, podsConfig, map[string][]*targetgroup.Group{
		"pods": {
			{Labels: model.LabelSet{"__meta_kubernetes_namespace": "default"}, Targets: []model.LabelSet{
				pod("web-1", "10.0.0.1:80", "Running", "true"), pod("web-1", "10.0.0.1:81", "Running", "false"),
				pod("web-2", "10.0.0.2:80", "Failed", "true"), pod("web-3", "", "Pending", "true"), pod("web-4", "10.0.0.4:80/x", "Running", "true"),
			}},
			{Labels: model.LabelSet{"__meta_kubernetes_namespace": "kube-system"}, Targets: []model.LabelSet{pod("web-1", "10.0.0.9:80", "Running", "true")}},
		},
		"probe": {{Targets: []model.LabelSet{{"__address__": "https://u:hunter2@example.org/?token=hunter2"}, {"__address__": "example.com"}}}},
	})
	known.Scopes.Node = "node-a"
	known.Scopes.Jobs[0].Scope = "node"
	known.Scopes.Jobs[2] = status.Job{Name: "elsewhere", Scope: "cluster", By: "agent-b", Reason: "another agent holds the lease"}
	return known
}

func TestTarget(t *testing.T) {
	known := podsAgent(t)
	known.Active["pods"][0].Report(time.Unix(1, 0), time.Second, nil)
	known.Active["pods"][1].Report(time.Unix(1, 0), time.Second, errors.New("connection refused"))
	known.PodNode = func(_ context.Context, namespace, pod string) string {
		return map[string]string{"/far-1": "node-b", "default/far-1": "node-b", "/near-1": "node-a"}[namespace+"/"+pod]
	}
	for _, tc := range []struct {
		query   string
		verdict string
		matches []string // state and address or URL
	}{
		{"default/web-1", "2 targets: 1 scraped, 1 dropped", []string{"scraped http://10.0.0.1:80/metrics", "dropped 10.0.0.1:81"}},
		{"web-1", "3 targets: 2 scraped, 1 dropped", []string{"scraped http://10.0.0.1:80/metrics", "scraped http://10.0.0.9:80/metrics", "dropped 10.0.0.1:81"}},
		{"  kube-system/web-1 ", "job pods: scraped here, but the last scrape failed: connection refused", []string{"scraped http://10.0.0.9:80/metrics"}},
		{"web-2", `job pods: dropped by rule 1 of relabel_configs, {source_labels: [__meta_kubernetes_pod_phase], regex: Failed, action: drop}: __meta_kubernetes_pod_phase is "Failed"`, []string{"dropped 10.0.0.2:80"}},
		{"web-3", "job pods: kept by the rules, but cannot be scraped: no address", []string{"invalid "}},
		{"web-4", `job pods: kept by the rules, but cannot be scraped: "10.0.0.4:80/x" is not a valid hostname`, []string{"invalid 10.0.0.4:80/x"}},
		{"10.0.0.1:80", "job pods: scraped here, up", []string{"scraped http://10.0.0.1:80/metrics"}},
		{"10.0.0.1", "2 targets: 1 scraped, 1 dropped", []string{"scraped http://10.0.0.1:80/metrics", "dropped 10.0.0.1:81"}},
		{"http://10.0.0.1:80/metrics", "job pods: scraped here, up", []string{"scraped http://10.0.0.1:80/metrics"}},
		{"http://10.0.0.1:80", "job pods: scraped here, up", []string{"scraped http://10.0.0.1:80/metrics"}},
		{"http://10.0.0.1:81/", "job pods: dropped by rule 2", []string{"dropped 10.0.0.1:81"}},
		{"http://10.0.0.1:80/other", `no job sees "http://10.0.0.1:80/other" here`, nil},
		{"https://10.0.0.1:80/metrics", "no job sees", nil},
		{"example.com", "job probe: scraped here; its first scrape is not over yet", []string{"scraped http://prober:9115/probe?target=example.com&token=<secret>"}},
		{"prober:9115", "2 targets: 2 scraped", nil},
		{"pods", "job pods: of the 6 targets that it discovered here, 2 are scraped and 2 dropped by relabel_configs", nil},
		{"elsewhere", "job elsewhere: scraped by agent-b: another agent holds the lease; ask that agent", nil},
		{"far-1", `no job sees "far-1" here: it is a pod on node node-b, and this agent sees what is on node node-a; ask the agent on node-b`, nil},
		{"default/far-1", `it is a pod on node node-b`, nil},
		{"near-1", `no job sees "near-1" here, though it is a pod on this agent's node`, nil},
		{"nothing", `no job sees "nothing" here; jobs of scope node see what is on node node-a only; 1 job not scraped here and may see it: elsewhere`, nil},
	} {
		t.Run(tc.query, func(t *testing.T) {
			told := Target(t.Context(), tc.query, known)
			if !strings.Contains(told.Verdict, tc.verdict) {
				t.Errorf("the verdict is\n%s\nwant\n%s", told.Verdict, tc.verdict)
			}
			if tc.matches != nil {
				var got []string
				for _, m := range told.Matches {
					at := m.URL
					if at == "" {
						at = m.Before["__address__"]
					}
					got = append(got, m.State+" "+at)
				}
				if diff := cmp.Diff(tc.matches, got); diff != "" {
					t.Errorf("matches (-want +got):\n%s", diff)
				}
			}
			checkAnswer(t, told)
			if text, _ := json.Marshal(told); strings.Contains(string(text), "hunter2") {
				t.Errorf("a secret is shown: %s", text)
			}
		})
	}
}

// checkAnswer looks for what must be so of all answers.
func checkAnswer(t *testing.T, told status.TargetExplanation) {
	t.Helper()
	if !told.Truncated && told.Total != len(told.Matches) || told.Total < len(told.Matches) {
		t.Errorf("%d matches of %d, truncated: %v", len(told.Matches), told.Total, told.Truncated)
	}
	for _, m := range told.Matches {
		last := len(m.Steps) - 1
		if dropped := last >= 0 && m.Steps[last].Dropped; dropped != (m.State == status.TargetDropped) {
			t.Errorf("state %s, but the last step dropped it: %v", m.State, dropped)
		}
		if (len(m.After) > 0) != (m.State == status.TargetScraped || m.State == status.TargetPending) {
			t.Errorf("state %s with labels %v", m.State, m.After)
		}
	}
}

func TestTargetOfAnAgentThatHasJustBegun(t *testing.T) {
	known := podsAgent(t)
	known.Active = nil
	if got := Target(t.Context(), "10.0.0.1:80", known); len(got.Matches) != 1 || got.Matches[0].State != status.TargetPending || got.Matches[0].After["pod"] != "web-1" {
		t.Errorf("got %+v", got)
	}
	known.Groups = nil
	if got := Target(t.Context(), "10.0.0.1:80", known); got.Jobs[0].Verdict != "its discovery has found nothing here" || len(got.Matches) != 0 {
		t.Errorf("got %+v", got)
	}
	if got := Target(t.Context(), "x", Targets{}); got.Verdict != "the agent has no config yet" {
		t.Errorf("got %+v", got)
	}
}

// TestTargetAmongMany: with 50,000 dropped targets the answer comes within a
// second, and is no longer than people can read.
func TestTargetAmongMany(t *testing.T) {
	hostile := model.LabelValue("<script>alert(1)</script>\n\xff" + strings.Repeat("x", 100_000))
	group := &targetgroup.Group{Labels: model.LabelSet{"__meta_kubernetes_namespace": "default", "hostile": hostile}}
	for i := range 50_000 {
		group.Targets = append(group.Targets, pod(fmt.Sprintf("p-%d", i), "10.0.0.1:80", "Failed", "true"))
	}
	for i := range 300 {
		group.Targets = append(group.Targets, pod(fmt.Sprintf("up-%d", i), fmt.Sprintf("10.0.0.1:%d", 1000+i), "Running", "true"))
	}
	hostiles := group.Labels
	group.Labels = model.LabelSet{"__meta_kubernetes_namespace": "default"} // The library's own relabelling of them is not what is measured.
	known := knows(t, podsConfig, map[string][]*targetgroup.Group{"pods": {group}})
	group.Labels = hostiles
	for query, want := range map[string]int{"p-49999": 1, "pods": maxMatches, "10.0.0.1": maxMatches, "10.0.0.1:80": maxMatches, "none": 0} {
		began := time.Now()
		told := Target(t.Context(), query, known)
		took := time.Since(began)
		if took > 5*time.Second { // A second where nobody else works.
			t.Errorf("%s took %s", query, took)
		}
		t.Logf("%s took %s", query, took)
		if len(told.Matches) > want || want > 0 && len(told.Matches) == 0 {
			t.Errorf("%s: %d matches, want at most %d", query, len(told.Matches), want)
		}
		if want == maxMatches && (!told.Truncated || told.Total < 50_000) {
			t.Errorf("%s: truncated %v, total %d", query, told.Truncated, told.Total)
		}
		if query == "pods" {
			states := map[string]int{}
			for _, m := range told.Matches {
				states[m.State]++
			}
			if states[status.TargetScraped] == 0 || states[status.TargetDropped] == 0 {
				t.Errorf("only some kinds are told: %v", states)
			}
		}
		checkAnswer(t, told)
		body, err := json.Marshal(told)
		if err != nil || len(body) > 4<<20 || !utf8.Valid(body) {
			t.Errorf("%s: %d bytes, %v", query, len(body), err)
		}
		var text bytes.Buffer
		if err := WriteTarget(&text, told); err != nil {
			t.Error(err)
		}
		if strings.ContainsAny(text.String(), "\x1b\r") || !utf8.Valid(text.Bytes()) {
			t.Errorf("%s: the text has what steers a terminal", query)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, query := range []string{"", "/", "://", "http://", "a/b/c", "http://[::1", "[::1]:80", "\xff", "pods", "%", "x y"} {
		f.Add(query)
	}
	known := podsAgent(f)
	f.Fuzz(func(t *testing.T, query string) {
		told := Target(t.Context(), query, known)
		checkAnswer(t, told)
		var text bytes.Buffer
		if err := WriteTarget(&text, told); err != nil || !utf8.Valid(text.Bytes()) {
			t.Errorf("%v: %q", err, text.String())
		}
	})
}

// TestProbeIsKnownByTheURLThatItProbes: of a prober's target that is the address.
func TestProbeIsKnownByTheURLThatItProbes(t *testing.T) {
	known := knows(t, podsConfig, map[string][]*targetgroup.Group{"probe": {{Targets: []model.LabelSet{
		{"__address__": "https://example.org/health?deep=1"},
		{"__address__": "https://example.org/other"},
		{"__address__": "a:1"},
		{"__address__": "https://u:hunter2@example.org"},
	}}}})
	for query, address := range map[string]string{
		"https://example.org/health?deep=1": "https://example.org/health?deep=1", "https://example.org/other": "https://example.org/other", "a:1": "a:1",
		"https://u:<secret>@example.org": "https://u:<secret>@example.org", // As the page shows it.
	} {
		told := Target(t.Context(), query, known)
		if len(told.Matches) != 1 || told.Matches[0].Before["__address__"] != address {
			t.Errorf("%s: %s, %+v", query, told.Verdict, told.Matches)
		}
	}
}
