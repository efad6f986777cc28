// SPDX-License-Identifier: Apache-2.0

package web

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// data asks for a path and returns what is in the answer.
func data(t *testing.T, h http.Handler, path string) map[string]any {
	t.Helper()
	var a struct {
		Status string
		Data   map[string]any
	}
	body := text(t, ask(h, http.MethodGet, path))
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Status != "success" {
		t.Fatalf("%s: %v: %s", path, err, body)
	}
	return a.Data
}

func gauge(reg prometheus.Registerer, name string, value float64) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "For a test."})
	g.Set(value)
	reg.MustRegister(g)
}

func TestRuntimeInfo(t *testing.T) {
	t.Setenv("GOGC", "75")
	t.Setenv("GODEBUG", "x=1")
	opts := newOptions(t)
	opts.Started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("here", 3600))
	gauge(opts.Registry, "prometheus_config_last_reload_successful", 1)
	gauge(opts.Registry, "prometheus_config_last_reload_success_timestamp_seconds", 1700000000.9)
	corruptions := prometheus.NewCounter(prometheus.CounterOpts{Name: "prometheus_tsdb_wal_corruptions_total", Help: "For a test."})
	corruptions.Add(3)
	opts.Registry.MustRegister(corruptions)
	got := data(t, newTestServer(t, opts).Handler(), "/api/v1/status/runtimeinfo")

	now, err := time.Parse(time.RFC3339Nano, got["serverTime"].(string))
	if err != nil || time.Since(now) > time.Minute {
		t.Errorf("serverTime %v, %v", got["serverTime"], err)
	}
	if n := got["goroutineCount"].(float64); n < 1 {
		t.Errorf("goroutineCount %v", n)
	}
	hostname, _ := os.Hostname()
	cwd, _ := os.Getwd()
	want := map[string]any{
		"startTime":           "2026-01-02T02:04:05Z",
		"CWD":                 cwd,
		"hostname":            hostname,
		"serverTime":          got["serverTime"],
		"reloadConfigSuccess": true,
		"lastConfigTime":      "2023-11-14T22:13:20Z",
		"corruptionCount":     3.0,
		"goroutineCount":      got["goroutineCount"],
		"GOMAXPROCS":          float64(runtime.GOMAXPROCS(0)),
		"GOMEMLIMIT":          9223372036854775807.0,
		"GOGC":                "75",
		"GODEBUG":             "x=1",
		"storageRetention":    "1d",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRuntimeInfoBeforeAnyReload(t *testing.T) {
	got := data(t, newTestServer(t, newOptions(t)).Handler(), "/api/v1/status/runtimeinfo")
	if got["reloadConfigSuccess"] != false || got["lastConfigTime"] != "0001-01-01T00:00:00Z" {
		t.Errorf("%v", got)
	}
}

// brokenCollector fails at each gathering.
type brokenCollector struct{ desc *prometheus.Desc }

func (c brokenCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }
func (c brokenCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(c.desc, errors.New("broken"))
}

func TestBrokenCollector(t *testing.T) {
	opts := newOptions(t)
	gauge(opts.Registry, "prometheus_config_last_reload_successful", 1)
	opts.Registry.MustRegister(brokenCollector{prometheus.NewDesc("broken", "For a test.", nil, nil)})
	h := newTestServer(t, opts).Handler()
	if got := data(t, h, "/api/v1/status/runtimeinfo"); got["reloadConfigSuccess"] != true {
		t.Errorf("%v", got)
	}
	if code := ask(h, http.MethodGet, "/metrics").StatusCode; code != 200 {
		t.Errorf("/metrics: code %d, want that the rest is served", code)
	}
}

func TestBuildInfo(t *testing.T) {
	got := data(t, newTestServer(t, newOptions(t)).Handler(), "/api/v1/status/buildinfo")
	want := []string{"branch", "buildDate", "buildUser", "goVersion", "revision", "version"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Error(diff)
	}
	if got["goVersion"] != runtime.Version() {
		t.Errorf("goVersion %v", got["goVersion"])
	}
}

func TestFlags(t *testing.T) {
	opts := newOptions(t)
	opts.Flags = map[string]string{"web.external-url": "https://me:pa55@agent.example/", "log.level": "info", "config.file": ""}
	want := map[string]any{"web.external-url": "https://me:<secret>@agent.example/", "log.level": "info", "config.file": ""}
	if diff := cmp.Diff(want, data(t, newTestServer(t, opts).Handler(), "/api/v1/status/flags")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if opts.Flags["web.external-url"] != "https://me:pa55@agent.example/" {
		t.Error("the caller's map was changed")
	}
}
