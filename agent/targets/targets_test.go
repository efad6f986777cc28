// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.uber.org/goleak"

	"torchbearer/config"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		// Where the machine is slow, goroutines take longer to end than goleak waits.
		err := goleak.Find()
		for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// jobs parses scrape_configs.
func jobs(t *testing.T, text string) *config.Config {
	t.Helper()
	prom, err := promconfig.Load("scrape_configs:\n"+text, promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{Prometheus: prom}
}

// run discovers until the test ends; next waits for an update that has the
// given addresses.
func run(t *testing.T, setup ...func(*Targets)) (tg *Targets, next func(want map[string][]string)) {
	t.Helper()
	tg, err := New(Options{Library: promslog.NewNopLogger(), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range setup {
		f(tg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tg.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range tg.Updates() { // It is closed.
		}
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return tg, func(want map[string][]string) {
		t.Helper()
		deadline := time.After(patience)
		var diff string
		for {
			select {
			case groups := <-tg.Updates():
				if diff = cmp.Diff(want, addresses(groups)); diff == "" {
					return
				}
			case <-deadline:
				t.Fatalf("last update (-want +got):\n%s", diff)
			}
		}
	}
}

func addresses(groups map[string][]*targetgroup.Group) map[string][]string {
	all := make(map[string][]string)
	for job, gs := range groups {
		all[job] = []string{}
		for _, g := range gs {
			for _, target := range g.Targets {
				all[job] = append(all[job], string(target["__address__"]))
			}
		}
	}
	return all
}

func TestEveryKindOfDiscoveryIsHeard(t *testing.T) {
	sd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"targets":["h:1"]}]`)
	}))
	defer sd.Close()
	file := filepath.Join(t.TempDir(), "sd.json")
	if err := os.WriteFile(file, []byte(`[{"targets":["f:1"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	tg, next := run(t)
	if err := tg.Apply(jobs(t, `
- {job_name: static, static_configs: [{targets: ["s:1"]}]}
- {job_name: http, http_sd_configs: [{url: "`+sd.URL+`"}]}
- {job_name: file, file_sd_configs: [{files: ["`+file+`"]}]}
- {job_name: none}
`)); err != nil {
		t.Fatal(err)
	}
	next(map[string][]string{"static": {"s:1"}, "http": {"h:1"}, "file": {"f:1"}, "none": {}})
	if err := tg.Ready(); err != nil {
		t.Errorf("not ready though all have sent: %v", err)
	}
}

func TestReadyNamesTheDiscoveryThatIsSilent(t *testing.T) {
	asked := make(chan struct{})
	sd := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer sd.Close()
	tg, next := run(t)
	if err := tg.Apply(jobs(t, `
- {job_name: static, static_configs: [{targets: ["s:1"]}]}
- {job_name: http, http_sd_configs: [{url: "`+sd.URL+`", refresh_interval: 1h}]}
`)); err != nil {
		t.Fatal(err)
	}
	<-asked
	next(map[string][]string{"static": {"s:1"}, "http": {}})
	if err := tg.Ready(); err == nil || !strings.Contains(err.Error(), "kind http") || strings.Contains(err.Error(), "static") {
		t.Errorf("Ready is %v, want it to name http alone", err)
	}
	if err := tg.Apply(jobs(t, `- {job_name: static, static_configs: [{targets: ["s:1"]}]}`)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); tg.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Ready after the silent job went is %v", tg.Ready())
		}
	}
}

func TestDiscoveryThatDidNotChangeGoesOn(t *testing.T) {
	var asked atomic.Int64
	sd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `[{"targets":["h:1"]}]`)
	}))
	defer sd.Close()
	job := `- {job_name: http, http_sd_configs: [{url: "` + sd.URL + `", refresh_interval: 1h}]}` + "\n"
	tg, next := run(t)
	if err := tg.Apply(jobs(t, job)); err != nil {
		t.Fatal(err)
	}
	next(map[string][]string{"http": {"h:1"}})
	if err := tg.Apply(jobs(t, job+`- {job_name: static, static_configs: [{targets: ["s:1"]}]}`)); err != nil {
		t.Fatal(err)
	}
	next(map[string][]string{"http": {"h:1"}, "static": {"s:1"}})
	if n := asked.Load(); n != 1 {
		t.Errorf("the discovery was asked %d times, want once: it was started anew", n)
	}
}

func TestTheConfigGivenIsNotChanged(t *testing.T) {
	cfg := jobs(t, `- {job_name: static, static_configs: [{targets: ["s:1"]}]}`)
	before := cfg.Prometheus.String()
	tg, next := run(t)
	if err := tg.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	next(map[string][]string{"static": {"s:1"}})
	if diff := cmp.Diff(before, cfg.Prometheus.String()); diff != "" {
		t.Error(diff)
	}
}
