// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"torchbearer/e2e/receiver"
)

// spoof is a target whose histograms, exemplars and counters claim to be of another environment.
func spoof() http.Handler {
	registry := prometheus.NewRegistry()
	claim := prometheus.Labels{"environment": "dev"}
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "app_seconds", Help: "Both kinds of histogram.", ConstLabels: claim,
		Buckets: []float64{1, 10}, NativeHistogramBucketFactor: 1.1,
	})
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "app_total", Help: "With exemplar.", ConstLabels: claim})
	registry.MustRegister(native, count)
	for _, v := range []float64{0.5, 5, 50} {
		native.Observe(v)
	}
	count.(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"trace_id": "abc", "environment": "dev"})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

const (
	metricRule  = "metric_relabel_configs:\n- {target_label: environment, replacement: dev}"
	targetRule  = "relabel_configs:\n- {target_label: environment, replacement: dev}"
	podLabelMap = "relabel_configs:\n" +
		"- {target_label: __meta_kubernetes_pod_label_environment, replacement: dev}\n" +
		"- {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}"
	metricLabelMap = "metric_relabel_configs:\n" +
		"- {target_label: pod_environment, replacement: dev}\n" +
		"- {action: labelmap, regex: pod_(.+)}"
)

// TestNobodyTakesTheLabels: whatever sets the label environment, what leaves has the agent's, and the loser is kept.
func TestNobodyTakesTheLabels(t *testing.T) {
	t.Parallel()
	app := startTarget(t, exposes(plain, "app{environment=\"dev\"} 1\n"))
	innocent := startTarget(t, exposes(plain, "app 1\n"))
	both := startTarget(t, exposes(plain, "app{environment=\"dev\",exported_environment=\"old\"} 1\n"))
	histograms := startTarget(t, spoof())

	dest := startReceiver(t)
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL(), messageV2, soon, "send_exemplars: true", "send_native_histograms: true")+jobs(
		job("sample", []string{app}),
		job("honored", []string{app}, "honor_labels: true"),
		job("both", []string{both}),
		job("both-honored", []string{both}, "honor_labels: true"),
		job("relabelled", []string{innocent}, targetRule),
		job("mapped", []string{innocent}, podLabelMap),
		job("metric-relabelled", []string{innocent}, metricRule),
		job("metric-mapped", []string{innocent}, metricLabelMap),
		"- job_name: static\n  static_configs:\n  - {targets: ['"+innocent+"'], labels: {environment: dev}}\n",
		job("native", []string{histograms}, "scrape_native_histograms: true", "always_scrape_classic_histograms: true"),
	))

	for _, name := range []string{"sample", "honored", "relabelled", "mapped", "metric-relabelled", "metric-mapped", "static"} {
		wantArrives(t, a, dest, "__name__", "app", "job", name, "environment", environment, "exported_environment", "dev")
	}
	for _, name := range []string{"both", "both-honored"} {
		found := wantArrives(t, a, dest, "__name__", "app", "job", name, "environment", environment)
		if got := found[0].Labels.String(); !strings.Contains(got, `"dev"`) || !strings.Contains(got, `"old"`) {
			t.Errorf("job %s: of the two losers one is lost: %s", name, got)
		}
	}
	for _, name := range []string{"relabelled", "mapped", "static"} {
		for _, metric := range []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added"} {
			wantArrives(t, a, dest, "__name__", metric, "job", name, "environment", environment, "exported_environment", "dev")
		}
	}
	for _, metric := range []string{"app_seconds", "app_seconds_bucket", "app_seconds_sum", "app_total"} {
		wantArrives(t, a, dest, "__name__", metric, "job", "native", "environment", environment, "exported_environment", "dev")
	}
	a.until(t, 60*time.Second, "the exemplar arrives", func(context.Context) error {
		found := dest.Match("__name__", "app_total", "job", "native")
		return atLeast("exemplars", len(found[0].Exemplars), 1)
	})
	wantMandatory(t, dest)
	conflicts, err := a.metric(t.Context(), `torchbearer_label_conflicts_total{job="sample",label="environment"}`)
	if err != nil || conflicts < 1 {
		t.Errorf("the conflicts of job sample are counted as %v, %v", conflicts, err)
	}
	stop(t, a)
	wantMandatory(t, dest)
}

// TestWriteRelabelKeepsTheLabels: not even the user's own rules at the door can take them away.
func TestWriteRelabelKeepsTheLabels(t *testing.T) {
	t.Parallel()
	app := startTarget(t, exposes(plain, "app{tier=\"web\"} 1\n"))
	f := func(name, rule string) {
		t.Run(name, func(t *testing.T) {
			dest := startReceiver(t)
			a := startAgent(t, global(time.Second)+
				remoteWrite(dest.URL(), soon, "write_relabel_configs:\n- "+rule)+jobs(job("app", []string{app})))
			wantArrives(t, a, dest, "__name__", "app")
			stop(t, a)
			wantMandatory(t, dest)
		})
	}
	f("drop", "{action: labeldrop, regex: environment|clustername}")
	f("rewrite", "{target_label: environment, replacement: dev}")
	f("keep others only", "{action: labelkeep, regex: __name__|job|instance}")
	f("map", "{source_labels: [tier], target_label: clustername}")
}

// TestTrustedJob: a job that federates may set the labels, and no other job.
func TestTrustedJob(t *testing.T) {
	t.Parallel()
	app := startTarget(t, exposes(plain, "app{environment=\"dev\"} 1\n"))
	dest := startReceiver(t)
	a := startAgent(t, "agent: {trusted_label_jobs: [federation]}\n"+global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(
		job("federation", []string{app}, "honor_labels: true"), job("other", []string{app}, "honor_labels: true"),
	))

	wantArrives(t, a, dest, "__name__", "app", "job", "federation", "environment", "dev", "clustername", cluster)
	wantArrives(t, a, dest, "__name__", "app", "job", "other", "environment", environment, "exported_environment", "dev")
	stop(t, a)
	if got := dest.Match("job", "other", "environment", "dev"); len(got) != 0 {
		t.Errorf("a job that is not trusted has set the label: %v", labelsOf(got))
	}
}

// TestOtherExternalLabels keep Prometheus's rule: the target wins.
func TestOtherExternalLabels(t *testing.T) {
	t.Parallel()
	app := startTarget(t, exposes(plain, "app{region=\"target\"} 1\n"))
	dest := startReceiver(t)
	a := startAgent(t, global(time.Second)+"    region: agent\n"+remoteWrite(dest.URL(), soon)+jobs(job("app", []string{app})))
	wantArrives(t, a, dest, "__name__", "app", "region", "target")
	wantArrives(t, a, dest, "__name__", "up", "region", "agent")
}

func labelsOf(series []receiver.Series) []string {
	var all []string
	for _, s := range series {
		all = append(all, s.Labels.String())
	}
	return all
}
