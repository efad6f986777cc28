// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// world is an agent for the pages, as a test wants it.
type world struct {
	about           status.About
	scopes          status.Scopes
	destinations    []status.Destination
	active, dropped map[string][]*scrape.Target
	droppedCounts   map[string]int
	series          status.Series
	log             []status.LogLine
	config, disk    string
	explain         Explainer
	relabelled      int // targets that were taken through the rules
}

func (w *world) TargetsActive() map[string][]*scrape.Target  { return w.active }
func (w *world) TargetsDropped() map[string][]*scrape.Target { return w.dropped }
func (w *world) ScrapePools() []string                       { return []string{"pods", "node"} }

func (w *world) TargetsDroppedCounts() map[string]int {
	if w.droppedCounts != nil {
		return w.droppedCounts
	}
	counts := map[string]int{}
	for name, list := range w.dropped {
		counts[name] = len(list)
	}
	return counts
}

func (w *world) Ready() error {
	if w.about.NotReady != "" {
		return errors.New(w.about.NotReady)
	}
	return nil
}
func (w *world) Config() string               { return w.config }
func (w *world) Reload(context.Context) error { return nil }

// options show the world on the pages.
func (w *world) options(tb testing.TB) Options {
	tb.Helper()
	opts := newOptions(tb)
	opts.Agent, opts.Targets, opts.Pools, opts.Explain = w, w, w, w.explain
	opts.Scopes = func() status.Scopes { return w.scopes }
	opts.Destinations = func() []status.Destination { return w.destinations }
	opts.About = func() status.About { return w.about }
	opts.ConfigOnDisk = func() (string, bool) { return w.disk, w.disk == w.config }
	opts.Series = func() status.Series { return w.series }
	opts.LogTail = func() []status.LogLine { return w.log }
	opts.Relabelled = func(string, labels.Labels) []status.RelabelStep {
		w.relabelled++
		return []status.RelabelStep{{
			Rule: 2, Text: "{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: \"true\", action: keep}", Dropped: true,
			Source: []status.LabelValue{{Name: "__meta_kubernetes_pod_annotation_prometheus_io_scrape"}},
		}}
	}
	opts.Samples = func(*scrape.Target) (status.Samples, bool) {
		return status.Samples{Scraped: 1204, Kept: 980, Added: 3}, true
	}
	return opts
}

// newTarget is one that was scraped with this error, if any.
func newTarget(job, address string, err error, more ...string) *scrape.Target {
	cfg := &promconfig.ScrapeConfig{JobName: job, Scheme: "http", MetricsPath: "/metrics"}
	pairs := append([]string{
		"job", job, "instance", address, "__address__", address, "__scheme__", "http", "__metrics_path__", "/metrics",
		"__scrape_interval__", "15s", "__scrape_timeout__", "10s",
	}, more...)
	found := model.LabelSet{"__address__": model.LabelValue(address), "__meta_kubernetes_pod_phase": "Running"}
	for i := 0; i < len(more); i += 2 {
		if strings.HasPrefix(more[i], "__") {
			continue
		}
		found[model.LabelName("__meta_kubernetes_pod_label_"+more[i])] = model.LabelValue(more[i+1])
	}
	t := scrape.NewTarget(labels.FromStrings(pairs...), cfg, found, model.LabelSet{"__meta_kubernetes_namespace": "shop"})
	t.Report(time.Now().Add(-7*time.Second), 23*time.Millisecond, err)
	return t
}

// newDropped is a target that relabelling dropped.
func newDropped(job, address string) *scrape.Target {
	cfg := &promconfig.ScrapeConfig{JobName: job, Scheme: "http", MetricsPath: "/metrics"}
	return scrape.NewTarget(labels.EmptyLabels(), cfg,
		model.LabelSet{
			"__address__": model.LabelValue(address), "__meta_kubernetes_pod_name": model.LabelValue("pod-" + address),
			"__meta_kubernetes_pod_phase": "Running", "__meta_kubernetes_pod_container_port_name": "http",
		},
		model.LabelSet{"__meta_kubernetes_namespace": "shop"})
}

// newWorld is an agent at work, and all is well with it.
func newWorld() *world {
	now := time.Now()
	w := &world{
		about: status.About{
			Node: "aks-pool1-vmss000003", Host: "torchbearer-x7k2p", Version: "0.1.0", Revision: "4f2c1aa",
			Labels: []status.Label{
				{Name: "clustername", Value: "aks-weu-prod-01", Mandatory: true},
				{Name: "environment", Value: "prod", Mandatory: true},
				{Name: "region", Value: "westeurope"},
			},
			ConfigFile: "/etc/torchbearer/torchbearer.yaml", ConfigHash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", Started: now.Add(-75 * time.Hour),
		},
		scopes: status.Scopes{
			Node: "aks-pool1-vmss000003", Scope: "all",
			Lease: &status.Lease{Name: "torchbearer", Holder: "aks-pool1-vmss000001/torchbearer-b5dq9"},
			Jobs: []status.Job{
				{Name: "pods", Scope: "node", Scraped: true, Reason: "the pods of this node"},
				{Name: "node", Scope: "node", Scraped: true, Reason: "this node"},
				{Name: "kube-state-metrics", Scope: "cluster", By: "aks-pool1-vmss000001/torchbearer-b5dq9", Reason: "another agent holds the Lease"},
			},
		},
		active:  map[string][]*scrape.Target{"node": {newTarget("node", "10.1.0.7:9100", nil)}},
		dropped: map[string][]*scrape.Target{"pods": {newDropped("pods", "10.1.2.40:8080"), newDropped("pods", "10.1.2.41:8080")}},
		series: status.Series{
			Active: 48213, Limit: 200000,
			Jobs:    []status.JobSeries{{Job: "pods", Active: 46101, Limit: 100000, Added: 312}, {Job: "node", Active: 2112, Added: 4}},
			Metrics: []status.MetricCount{{Metric: "http_request_duration_seconds_bucket", Job: "pods", Series: 21044}, {Metric: "node_cpu_seconds_total", Job: "node", Series: 64}},
		},
		log:    []status.LogLine{{Time: now.Add(-3 * time.Hour), Level: "warn", Text: `component=targets msg="watch ended, beginning anew" err="too old resource version"`}},
		config: "global:\n  scrape_interval: 15s\n  external_labels:\n    clustername: aks-weu-prod-01\n    environment: prod\n",
	}
	w.disk = w.config
	for i := range 12 {
		w.active["pods"] = append(w.active["pods"], newTarget("pods", fmt.Sprintf("10.1.2.%d:8080", i+3), nil, "app", "checkout", "pod", fmt.Sprintf("checkout-7d9f6-%04x", i*7919)))
	}
	w.destinations = []status.Destination{{
		Name: "central", URL: "https://prometheus.example.com/api/v1/write", Protocol: "2.0", Pending: 1204, InFlight: 1,
		Ledger: status.Ledger{
			Since: now.Add(-75 * time.Hour), Scraped: 867_882_204, Inherited: 1200, Sent: 867_101_000, Pending: 1204,
			Lost: map[string]int64{"budget": 0, "retention": 0, "unknown_series": 0, "refused": 0}, LeftOut: map[string]int64{"relabel": 780_000},
		},
		BacklogBytes: 81 << 10, BacklogSeconds: 1.2, OldestPending: new(now.Add(-time.Second)), LastSuccess: new(now.Add(-2 * time.Second)),
		BudgetHours: new(41.3), ClockOffsetSeconds: new(-0.12),
	}}
	return w
}

// troubled is the same when much is wrong.
func (w *world) troubled() *world {
	now := time.Now()
	w.active["pods"] = append(w.active["pods"], newTarget("pods", "10.1.2.90:8080", errors.New(`Get "http://10.1.2.90:8080/metrics": dial tcp 10.1.2.90:8080: connect: connection refused`), "app", "ledger"))
	w.about.Notice = "The last reload was refused; running on the config before it:\n/etc/torchbearer/torchbearer.yaml:12: field scrape_intervall is not known; did you mean scrape_interval?"
	w.disk = "# The config on disk is refused:\n# /etc/torchbearer/torchbearer.yaml:12: field scrape_intervall is not known\n"
	second := w.destinations[0]
	second.Name, second.URL, second.Protocol = "reports", "https://reports.example.com/api/v1/push", "1.0"
	second.Pending, second.InFlight, second.BacklogBytes, second.BacklogSeconds = 1_840_211, 0, 96<<20, 3720
	second.Ledger.Sent, second.Ledger.Pending = 865_130_761, 1_840_211
	second.Ledger.Lost = map[string]int64{"budget": 0, "retention": 0, "unknown_series": 0, "refused": 131_232}
	second.OldestPending, second.LastSuccess, second.FailingSince = new(now.Add(-62*time.Minute)), new(now.Add(-62*time.Minute)), new(now.Add(-62*time.Minute))
	second.LastError, second.LastErrorAt, second.BudgetHours = "server returned HTTP status 503 Service Unavailable: upstream connect error or disconnect/reset before headers", new(now.Add(-4*time.Second)), new(9.4)
	second.Refused = []status.Refusal{{Time: now.Add(-3 * time.Hour), Reason: "out_of_order", Status: 400, Words: "out of order sample for series", Series: `{__name__="http_requests_total", job="pods"}`, Samples: 2}}
	w.destinations = append(w.destinations, second)
	w.log = append([]status.LogLine{{Time: now.Add(-4 * time.Minute), Level: "error", Text: `component=agent msg="config refused; continuing with the previous config" violation="torchbearer.yaml:12: field scrape_intervall is not known"`}}, w.log...)
	return w
}

// remember fills the graphs of a server with an hour.
func remember(s *Server, w *world) {
	now := time.Now()
	for i := range historyLength {
		ago := time.Duration(historyLength-1-i) * historyEvery
		then := make([]status.Destination, len(w.destinations))
		copy(then, w.destinations)
		for k := range then {
			d := &then[k]
			d.Ledger.Scraped -= int64(ago.Seconds()) * 3200
			if d.FailingSince != nil {
				d.Ledger.Pending = d.Ledger.Pending * int64(i) / historyLength
			} else {
				d.Ledger.Pending = 900 + int64(i*7919%700)
			}
			d.Ledger.Sent = d.Ledger.Scraped - d.Ledger.Pending
		}
		s.history.note(now.Add(-ago), then)
	}
}

// fakeExplain explains always the same.
type fakeExplain struct{}

func (fakeExplain) ExplainTarget(_ context.Context, query string) (status.TargetExplanation, error) {
	before := map[string]string{"__address__": "10.1.2.40:8080", "__meta_kubernetes_namespace": "shop", "__meta_kubernetes_pod_name": "billing-0"}
	return status.TargetExplanation{
		Query: query, Verdict: "One target fits " + query + "; job pods leaves it out.", Total: 1,
		Matches: []status.TargetMatch{{
			Job: "pods", State: status.TargetDropped, Verdict: "Rule 2 of relabel_configs drops it: the annotation prometheus.io/scrape is not there.", Before: before,
			Steps: []status.RelabelStep{
				{
					Rule: 1, Text: "{source_labels: [__meta_kubernetes_namespace], target_label: namespace}",
					Source: []status.LabelValue{{Name: "__meta_kubernetes_namespace", Value: "shop"}}, Changes: []status.LabelChange{{Name: "namespace", After: "shop"}},
				},
				{
					Rule: 2, Text: "{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: \"true\", action: keep}", Dropped: true,
					Source: []status.LabelValue{{Name: "__meta_kubernetes_pod_annotation_prometheus_io_scrape"}},
				},
			},
		}},
		Jobs: []status.JobView{
			{Job: "pods", Scraped: true, Sees: 1, Found: 14, Dropped: 2, Verdict: "It sees it, and leaves it out."},
			{Job: "node", Scraped: true, Found: 1, Verdict: "It discovers nodes, not pods."},
		},
	}, nil
}

func (fakeExplain) ExplainMetric(_ context.Context, name, job string) (status.MetricExplanation, error) {
	rules := []status.MetricRule{{Rule: 1, Text: "{source_labels: [__name__], regex: go_.*, action: drop}", Dropped: 120_311, Exact: true, Metric: 4, Now: 30}}
	return status.MetricExplanation{
		Name: name, Job: job, Verdict: name + " is left out by a rule of job pods.",
		Jobs: []status.MetricJob{{
			Job: "pods", Verdict: "Rule 1 of metric_relabel_configs drops it.", Scraped: true, Targets: 12, Asked: 3, Exposing: 3, Samples: 12, Rules: rules,
			Errors: []string{"10.1.2.5:8080 did not answer"},
			Series: []status.MetricExample{{
				Target: "http://10.1.2.3:8080/metrics", Before: map[string]string{"__name__": name}, Dropped: true,
				Steps: []status.RelabelStep{{Rule: 1, Text: rules[0].Text, Dropped: true, Source: []status.LabelValue{{Name: "__name__", Value: name}}}},
			}},
		}},
		Destinations: []status.MetricDestination{{Name: "central", Verdict: "It would get what is kept: it has no rules.", Samples: 0}},
	}, nil
}
