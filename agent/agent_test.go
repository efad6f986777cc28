// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"go.uber.org/goleak"

	"torchbearer/agent/scraper"
	"torchbearer/agent/wal"
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

// until polls ok, and fails the test with what when it does not come true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not come true in %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// target counts its scrapes and exposes the count as scrapes_served.
type target struct {
	*httptest.Server

	served atomic.Int64
}

func newTarget(t *testing.T, more string) *target {
	t.Helper()
	tg := &target{}
	tg.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE scrapes_served counter\nscrapes_served %d\n%s", tg.served.Add(1), more)
	}))
	t.Cleanup(tg.Close)
	return tg
}

// Address is host and port.
func (tg *target) Address() string { return strings.TrimPrefix(tg.URL, "http://") }

// running is an agent under test.
type running struct {
	*Agent

	file     string
	dir      string
	registry *prometheus.Registry
	stop     func() error // stops it and returns what Run returned
}

// options are those of an agent with its config in a temporary folder.
func options(t *testing.T, dir string) Options {
	t.Helper()
	return Options{
		Logger:        log.NewNopLogger(),
		Library:       promslog.NewNopLogger(),
		Registry:      prometheus.NewRegistry(),
		ConfigFile:    filepath.Join(dir, "torchbearer.yaml"),
		Config:        config.Options{RequiredLabels: []string{"clustername", "environment"}},
		FlushDeadline: patience / 2,
		WAL:           wal.Options{Dir: filepath.Join(dir, "data")},
		Scraper:       scraper.Options{DiscoveryReloadInterval: 50 * time.Millisecond},
	}
}

// start runs an agent on the config text until the test ends or stop is called.
func start(t *testing.T, dir, text string, edit func(*Options)) *running {
	t.Helper()
	opts := options(t, dir)
	if edit != nil {
		edit(&opts)
	}
	if text != "" {
		write(t, opts.ConfigFile, text)
	}
	a, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	r := &running{Agent: a, file: opts.ConfigFile, dir: opts.WAL.Dir, registry: opts.Registry}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return r
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// memory is a folder of the test, in memory where there is such a place: nothing
// is proved by waiting for a disk.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "torchbearer-test-*") //nolint:usetesting // t.TempDir is on a disk.
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// job is the config of one job, scraping often.
func job(name, address, more string) string {
	return fmt.Sprintf("  - job_name: %s\n    scrape_interval: 100ms\n    scrape_timeout: 100ms\n    static_configs: [{targets: [%q]}]\n%s", name, address, more)
}

// slowJob is the config of one with so many targets at the URL that one of them
// is scraped soon, and may take 30 s to answer.
func slowJob(name, url string) string {
	var targets []string
	for i := range 60 {
		targets = append(targets, fmt.Sprintf("{targets: [%q], labels: {n: '%d'}}", strings.TrimPrefix(url, "http://"), i))
	}
	return "  - job_name: " + name + "\n    scrape_interval: 30s\n    scrape_timeout: 30s\n    static_configs: [" + strings.Join(targets, ", ") + "]\n"
}

func configText(receiver, protocol string, jobs ...string) string {
	return "global:\n  external_labels: {clustername: aks-1, environment: prod}\n" +
		"remote_write:\n  - url: " + receiver + "/write\n    protobuf_message: " + protocol + "\n    queue_config: {batch_send_deadline: 50ms}\n" +
		"scrape_configs:\n" + strings.Join(jobs, "")
}

const (
	v1 = "prometheus.WriteRequest"
	v2 = "io.prometheus.write.v2.Request"
)

func TestEverySampleArrivesOnceWithTheMandatoryLabels(t *testing.T) {
	for _, protocol := range []string{v1, v2} {
		t.Run(protocol, func(t *testing.T) {
			tg, rc := newTarget(t, "app{environment=\"dev\"} 1\n"), newReceiver(t)
			a := start(t, t.TempDir(), configText(rc.URL, protocol, job("app", tg.Address(), "")), nil)
			until(t, "five scrapes", func() bool { return tg.served.Load() >= 5 })
			until(t, "ready while scraping", func() bool { return a.Ready() == nil })
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}

			arrived := checkScrapes(t, rc, "app")
			// The last scrape may have been answered but not read to its end.
			if served := int(tg.served.Load()); arrived < served-1 {
				t.Errorf("%d of %d scrapes arrived", arrived, served)
			}
			for _, ls := range rc.Series() {
				if ls.Get("clustername") != "aks-1" || ls.Get("environment") != "prod" {
					t.Errorf("series %s left without the mandatory labels", ls)
				}
			}
			if !slices.ContainsFunc(texts(rc), func(s string) bool { return strings.Contains(s, `exported_environment="dev"`) }) {
				t.Errorf("the loser is not kept in %v", texts(rc))
			}
		})
	}
}

// checkScrapes wants every scrape of the job to have arrived once and in order,
// but for those that by their up were answered too late. It returns how many
// there were of both.
func checkScrapes(t *testing.T, rc *receiver, job string) int {
	t.Helper()
	last, late := 0, 0
	for _, up := range rc.Values("up", job) {
		if up == 0 {
			late++
		}
	}
	got := rc.Values("scrapes_served", job)
	for _, v := range got {
		if math.IsNaN(v) {
			continue // The series is stale where a scrape was late.
		}
		late -= int(v) - last - 1
		if int(v) <= last || late < 0 {
			t.Fatalf("scrapes arrived as %v, want each once and in order; %v", got, rc.Values("up", job))
		}
		last = int(v)
	}
	return last + late
}

func texts(rc *receiver) []string {
	var all []string
	for _, ls := range rc.Series() {
		all = append(all, ls.String())
	}
	slices.Sort(all)
	return all
}

func TestFirstScrapeStartsWithinASecond(t *testing.T) {
	best := patience
	for begun := time.Now(); time.Since(begun) < patience; { // The machine may be busy with other tests.
		tg, rc := newTarget(t, ""), newReceiver(t)
		begin := time.Now()
		a := start(t, memory(t), configText(rc.URL, v2, job("app", tg.Address(), "")), nil)
		until(t, "the first scrape", func() bool { return tg.served.Load() > 0 })
		best = min(best, time.Since(begin))
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if best < time.Second {
			return
		}
	}
	t.Errorf("the first scrape came after %s at best", best)
}

func TestStopEndsInTimeWithAHangingReceiverAndTarget(t *testing.T) {
	rc := newReceiver(t)
	release := rc.Hang()
	defer release()
	asked := make(chan struct{}, 100)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		asked <- struct{}{}
		<-req.Context().Done()
	}))
	defer hanging.Close()
	tg := newTarget(t, "")
	text := configText(rc.URL, v1, job("app", tg.Address(), ""), slowJob("hanging", hanging.URL))
	a := start(t, t.TempDir(), text, func(o *Options) { o.FlushDeadline = 3 * time.Second })
	until(t, "the hanging target is asked", func() bool { return len(asked) > 0 && tg.served.Load() > 2 })

	begin := time.Now()
	if err := a.stop(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if took := time.Since(begin); took > 12*time.Second { // The target and the receiver would take 30 s.
		t.Errorf("the stop took %s with a flush deadline of 3s", took)
	}
	hanging.CloseClientConnections()
	release()
}

func TestReadyNamesTheReason(t *testing.T) {
	rc, tg := newReceiver(t), newTarget(t, "")
	dir := t.TempDir()
	opts := options(t, dir)
	write(t, opts.ConfigFile, configText(rc.URL, v2, job("app", tg.Address(), "")))
	a, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "not applied yet") {
		t.Errorf("Ready before Run is %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	rc, tg := newReceiver(t), newTarget(t, "")
	a := start(t, t.TempDir(), configText(rc.URL, v2, job("app", tg.Address(), "")), nil)
	until(t, "ready", func() bool { return a.Ready() == nil })
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "torchbearer_") {
			ours = append(ours, f.GetName())
		}
	}
	if len(ours) == 0 {
		t.Fatal("no metrics of our own")
	}
	problems, err := testutil.GatherAndLint(a.registry, ours...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
