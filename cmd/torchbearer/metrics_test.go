// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/agent"
	"torchbearer/agent/web"
)

// reference is the page on which all metrics of an agent stand.
const reference = "../../agent/METRICS.md"

// described is a metric as its collector describes it.
type described struct{ name, kind, labels, help string }

// assembled runs an agent that scrapes and ships, until it has done both, and
// gives its registry to use.
func assembled(t *testing.T, use func(*prometheus.Registry)) {
	t.Helper()
	stored := make(chan struct{}, 100)
	came := &beats{names: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "a 1\n")
			return
		}
		came.take(t, w, r)
		select {
		case stored <- struct{}{}:
		default:
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "torchbearer.yaml")
	text := fmt.Sprintf("global: {scrape_interval: 100ms, scrape_timeout: 100ms, external_labels: {clustername: c, environment: e}}\n"+
		"remote_write: [{name: central, url: %q, protobuf_message: io.prometheus.write.v2.Request, queue_config: {batch_send_deadline: 10ms}, write_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]}]\n"+
		"scrape_configs: [{job_name: a, static_configs: [{targets: [%q]}]}]\n", server.URL+"/write", strings.TrimPrefix(server.URL, "http://"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &flags{}
	if _, code := f.parse([]string{
		"--config.file=" + file, "--storage.agent.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0",
	}, io.Discard, os.Stderr); code != exitClean {
		t.Fatalf("flags: %d", code)
	}
	l, err := newLogging(io.Discard, "info", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	registry := newRegistry()
	registry.MustRegister(l.tail.lines)
	a, err := agent.New(f.agentOptions(l, registry))
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := web.Listen(f.listenAddresses, f.maxConnections)
	if err == nil {
		_, err = web.New(f.webOptions(l, registry, a, listeners))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for range 3 {
		select {
		case <-stored:
		case <-time.After(time.Minute):
			t.Error("nothing is shipped")
		}
	}
	use(registry)
	came.known(t)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := closeAll(listeners); err != nil {
		t.Error(err)
	}
}

// describe lists all metrics of a registry. The kind of those that have no series
// yet stands in their name.
func describe(t *testing.T, registry *prometheus.Registry) map[string]described {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, f := range families {
		kinds[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	form := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", unit: "[^"]*", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}\}$`)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	all := map[string]described{}
	for d := range descs {
		parts := form.FindStringSubmatch(d.String())
		if parts == nil {
			t.Errorf("not understood: %s", d)
			continue
		}
		name := parts[1]
		kind := cmp.Or(kinds[name], "gauge")
		if kinds[name] == "" && strings.HasSuffix(name, "_total") {
			kind = "counter"
		} else if kinds[name] == "" && strings.HasSuffix(name, "_seconds") && strings.Contains(name, "duration") {
			kind = "histogram"
		}
		all[name] = described{name, kind, strings.ReplaceAll(parts[3], ",", ", "), strings.ReplaceAll(parts[2], `\"`, `"`)}
	}
	return all
}

// ofProcess are the metrics of the Go runtime, which change with its version.
func ofProcess(name string) bool {
	return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
}

// metricGroups are the chapters of the reference, by how names begin.
func metricGroups() [][2]string {
	return [][2]string{
		{"torchbearer_destination_", "The ledger of each destination"},
		{"torchbearer_", "Its own"},
		{"prometheus_remote_storage_", "Remote write, by Prometheus's names"},
		{"prometheus_agent_", "The log of Prometheus's agent"},
		{"prometheus_target_", "Scraping"},
		{"prometheus_sd_", "Service discovery"},
		{"", "Others"},
	}
}

// page renders the reference.
func page(all map[string]described) string {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from a running agent by `make golden`; a test compares. Do not edit. -->\n# Metrics of the agent\n\n" +
		"At `/metrics`. What Prometheus's agent has too keeps its name; our own begin with `torchbearer_`. Metrics `go_*` and\n" +
		"`process_*` are those of every Go program. Heartbeats, the series `torchbearer_agent_*`, are not there: the agent ships\n" +
		"them by itself.\n\nAt any moment, and in one scrape, to the sample:\n\n" +
		"    torchbearer_destination_scraped_samples_total = torchbearer_destination_sent_samples_total\n" +
		"      + torchbearer_destination_pending_samples + sum of torchbearer_destination_lost_samples_total\n" +
		"      + sum of torchbearer_destination_left_out_samples_total\n\n" +
		"What was not sent when the process began is in `scraped`: while that is counted, `scraped` and `pending` grow by it.\n" +
		"What is damaged in the log of an earlier process nobody can count; `torchbearer_wal_damaged_records_total` has its places.\n")
	names := map[string][]string{}
	for name := range all {
		if ofProcess(name) {
			continue
		}
		for _, g := range metricGroups() {
			if strings.HasPrefix(name, g[0]) {
				names[g[0]] = append(names[g[0]], name)
				break
			}
		}
	}
	for _, g := range metricGroups() {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | |\n|---|---|---|---|\n", g[1])
		slices.Sort(names[g[0]])
		for _, name := range names[g[0]] {
			d := all[name]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, d.labels, strings.ReplaceAll(d.help, "|", `\|`))
		}
	}
	b.WriteString("\n## Heartbeats\n\nEvery 15 s (`--heartbeat.interval`) these go to each destination, with the external labels, " +
		"`job=\"torchbearer\"` and the node,\nor else the host, as `instance`.\n\n| metric | type | labels | |\n|---|---|---|---|\n")
	for _, d := range heartbeats() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, d.labels, d.help)
	}
	b.WriteString("\n## For dashboards and alerts made for Prometheus\n\nThe metrics that the Prometheus mixin asks for, and others that agents are watched by.\n\n| metric | here | |\n|---|---|---|\n")
	for _, k := range mixin() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, k.here, k.note)
	}
	return b.String()
}

func TestMetricsReference(t *testing.T) {
	assembled(t, func(registry *prometheus.Registry) {
		all := describe(t, registry)
		for _, k := range mixin() {
			if _, there := all[k.name]; there != (k.here != absent) {
				t.Errorf("%s is said to be %s; it is there: %v", k.name, k.here, there)
			}
		}
		got := page(all)
		if os.Getenv("UPDATE_GOLDEN") != "" { // make golden
			if err := os.WriteFile(reference, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(reference)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(string(want), got); diff != "" {
			t.Errorf("the metrics differ from %s; if that is meant, run make golden (-want +got):\n%s", reference, diff)
		}
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "torchbearer_") { // Others have the names they have.
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
	})
}
