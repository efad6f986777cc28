// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/upstream/scrape"
)

// The server takes the real thing.
var (
	_ Targets = (*scrape.Manager)(nil)
	_ Pools   = (*scrape.Manager)(nil)
)

// nowhere takes samples and forgets them.
type nowhere struct{ storage.AppenderTransaction }

func (n nowhere) AppenderV2(context.Context) storage.AppenderV2 { return n }
func (nowhere) Commit() error                                   { return nil }
func (nowhere) Rollback() error                                 { return nil }
func (nowhere) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram,
	storage.AOptions,
) (storage.SeriesRef, error) {
	return 1, nil
}

const scrapeConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: node
  relabel_configs: [{source_labels: [keep], regex: "no", action: drop}]
- job_name: app
  metrics_path: /broken
  params: {a: ["x&y"]}
`

// scrapeForReal runs a scrape manager on a target that works, one that fails and one that is dropped, until both have been
// scraped.
func scrapeForReal(t *testing.T) (manager *scrape.Manager, address string) {
	t.Helper()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, "a 1\n")
	}))
	t.Cleanup(target.Close)
	address = target.Listener.Addr().String()
	logger := slog.New(slog.DiscardHandler)
	manager, err := scrape.NewManager(&scrape.Options{DiscoveryReloadOnStartup: true}, logger, nil, nil, nowhere{}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := promconfig.Load(scrapeConfig, logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.ApplyConfig(cfg); err != nil {
		t.Fatal(err)
	}
	groups := make(chan map[string][]*targetgroup.Group)
	ended := make(chan error)
	go func() { ended <- manager.Run(groups) }()
	t.Cleanup(func() {
		manager.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	at := model.LabelValue(address)
	groups <- map[string][]*targetgroup.Group{
		"node": {{Source: "s", Targets: []model.LabelSet{{"__address__": at}, {"__address__": at, "keep": "no"}}, Labels: model.LabelSet{"zone": "<a&b>"}}},
		"app":  {{Source: "s", Targets: []model.LabelSet{{"__address__": at}}}},
	}
	eventually(t, "both targets scraped", func() bool {
		scraped := 0
		for _, pool := range manager.TargetsActive() {
			for _, target := range pool {
				if target.Health() != scrape.HealthUnknown {
					scraped++
				}
			}
		}
		return scraped == 2
	})
	return manager, address
}

// steady puts fixed values where each run has its own, where those make sense.
func steady(t *testing.T, body, port string) any {
	t.Helper()
	var got any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(body, port, ":8080")), &got); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	active := got.(map[string]any)["data"].(map[string]any)["activeTargets"].([]any)
	for _, a := range active {
		target := a.(map[string]any)
		at, err := time.Parse(time.RFC3339Nano, target["lastScrape"].(string))
		if err == nil && time.Since(at) <= time.Minute {
			target["lastScrape"] = "2026-01-02T03:04:05.678Z"
		}
		if d := target["lastScrapeDuration"].(float64); d > 0 && d <= 1 {
			target["lastScrapeDuration"] = 0.001
		}
	}
	return got
}

// The golden files are what Prometheus 3.16 answers for the same targets, with the same fixed values.
func TestTargetsGolden(t *testing.T) {
	manager, address := scrapeForReal(t)
	port := address[strings.LastIndexByte(address, ':'):]
	opts := newOptions(t)
	opts.Targets, opts.Pools = manager, manager
	h := newTestServer(t, opts).Handler()
	f := func(query, golden string) {
		t.Helper()
		raw, err := os.ReadFile("testdata/" + golden)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%s: %v", golden, err)
		}
		var diff string
		// A scrape that a slow machine let time out makes another answer, until the next.
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			got := steady(t, text(t, ask(h, http.MethodGet, "/api/v1/targets"+query)), port)
			if diff = cmp.Diff(want, got); diff == "" {
				return
			}
		}
		t.Errorf("%s is not %s (-want +got):\n%s", query, golden, diff)
	}
	f("", "targets_all.json")
	f("?state=any", "targets_all.json")
	f("?state=active", "targets_active.json")
	f("?state=ACTIVE", "targets_active.json")
	f("?state=dropped", "targets_dropped.json")
	f("?scrapePool=app", "targets_app.json")
	f("?state=active&scrapePool=app", "targets_active_app.json")
	f("?scrapePool=nobody", "targets_nobody.json")
	f("?state=nonsense", "targets_nonsense.json")
	want := `{"status":"success","data":{"scrapePools":["app","node"]}}`
	if diff := cmp.Diff(want, text(t, ask(h, http.MethodGet, "/api/v1/scrape_pools"))); diff != "" {
		t.Error(diff)
	}
}

type noPools struct{}

func (noPools) ScrapePools() []string { return nil }

func TestScrapePoolsOfNothing(t *testing.T) {
	opts := newOptions(t)
	opts.Pools = noPools{}
	want := `{"status":"success","data":{"scrapePools":[]}}`
	if diff := cmp.Diff(want, text(t, ask(newTestServer(t, opts).Handler(), http.MethodGet, "/api/v1/scrape_pools"))); diff != "" {
		t.Error(diff)
	}
}

type fakeListener struct {
	net.Listener
	address string
}

func (l fakeListener) Addr() net.Addr { return fakeAddr(l.address) }
func (fakeListener) Close() error     { return nil }

type fakeAddr string

func (fakeAddr) Network() string  { return "tcp" }
func (a fakeAddr) String() string { return string(a) }

func TestGlobalURL(t *testing.T) {
	f := func(external, target, want string) {
		t.Helper()
		opts := newOptions(t)
		opts.ExternalURL = parse(t, external)
		opts.Listeners = []net.Listener{fakeListener{address: "[::]:9090"}}
		got, err := newTestServer(t, opts).globalURL(parse(t, target))
		if err != nil || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", target, got, err, want)
		}
	}
	f("https://agent.example/x", "http://10.1.1.1:9100/metrics", "http://10.1.1.1:9100/metrics")
	f("https://agent.example/x", "http://localhost:9100/metrics", "http://agent.example:9100/metrics")
	f("https://agent.example/x", "http://127.0.0.1:9100/metrics", "http://agent.example:9100/metrics")
	f("https://agent.example/x", "http://[::1]:9100/metrics", "http://agent.example:9100/metrics")
	f("https://agent.example/x", "http://localhost/metrics", "http://agent.example/metrics")
	f("https://agent.example/x", "http://localhost:9090/metrics", "https://agent.example/metrics")
	f("https://agent.example:8443", "http://[::1]:9090/metrics?a=b", "https://agent.example:8443/metrics?a=b")
	f("http://[2001:db8::1]:9090", "http://localhost:9100/metrics", "http://[2001:db8::1]:9100/metrics")
}
