// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// scrapesOf keeps the series of the last scrape of each job that brought any.
type scrapesOf struct {
	mu   sync.Mutex
	last map[string][]string
}

func (s *scrapesOf) AppenderV2(ctx context.Context) storage.AppenderV2 {
	t, _ := scrape.TargetFromContext(ctx)
	return &scrapeOf{all: s, job: t.GetValue(jobMark)}
}

func (s *scrapesOf) of(job string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[job]
}

type scrapeOf struct {
	all    *scrapesOf
	job    string
	series []string
}

func (s *scrapeOf) Append(_ storage.SeriesRef, ls labels.Labels, _, _ int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if !strings.HasSuffix(opts.MetricFamilyName, ofReport) {
		s.series = append(s.series, ls.String())
	}
	return 0, nil
}

func (s *scrapeOf) Commit() error {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	slices.Sort(s.series)
	s.all.last[s.job] = s.series
	return nil
}

func (*scrapeOf) Rollback() error { return nil }

// exposition has all kinds of metrics, and labels that a target has too.
func exposition() http.Handler {
	reg := prometheus.NewRegistry()
	own := prometheus.Labels{"job": "mine", "zone": "", "exported_job": "older", "environment": "dev"}
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "app_requests_total", Help: "h", ConstLabels: own}, []string{"code"})
	both := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "app_seconds", Help: "h", Buckets: []float64{1, 2}, NativeHistogramBucketFactor: 1.1})
	reg.MustRegister(count, both, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "app_ok", Help: "h"}, func() float64 { return 1 }))
	for _, code := range []string{"200", "404", "500"} {
		count.WithLabelValues(code).Inc()
	}
	both.Observe(1.5)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

const askRules = `
  metric_relabel_configs:
  - {source_labels: [code], regex: '5..', action: drop}
  - {source_labels: [code], regex: '4..', target_label: __name__, replacement: app_bad}
  - {source_labels: [__name__], regex: app_seconds.*, action: drop}
`

// TestAskHearsWhatTheLibraryScrapes: after the rules, the samples that a question
// hears are those that the library writes, whatever the job's settings.
func TestAskHearsWhatTheLibraryScrapes(t *testing.T) {
	server := httptest.NewServer(exposition())
	defer server.Close()
	var text strings.Builder
	text.WriteString("global: {scrape_interval: 50ms, scrape_timeout: 50ms}\nscrape_configs:\n")
	settings := map[string]string{
		"plain":     "",
		"honored":   "  honor_labels: true\n",
		"rules":     askRules,
		"native":    "  scrape_native_histograms: true\n",
		"both":      "  scrape_native_histograms: true\n  always_scrape_classic_histograms: true\n",
		"nhcb":      "  convert_classic_histograms_to_nhcb: true\n",
		"unpacked":  "  enable_compression: false\n  scrape_protocols: [OpenMetricsText1.0.0]\n",
		"relabeled": "  relabel_configs:\n  - {target_label: __scrape_native_histograms__, replacement: 'true'}\n  - {target_label: zone, replacement: z}\n",
	}
	groups := Groups{}
	for name, more := range settings {
		fmt.Fprintf(&text, "- job_name: %s\n%s", name, more)
		groups[name] = []*targetgroup.Group{{
			Source:  "0",
			Targets: []model.LabelSet{{"__address__": model.LabelValue(server.Listener.Addr().String()), "exported_job": "target's"}},
		}}
	}
	cfg, err := promconfig.Load(text.String(), promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	s, heard := startScraper(t, &config.Config{Prometheus: cfg}, groups)
	for _, job := range cfg.ScrapeConfigs {
		want := wait(t, "a scrape of "+job.JobName, func() []string { return heard.of(job.JobName) })
		var got []string
		dropped := 0
		// 50 ms are for the library, which tries again and again.
		patient := *job
		patient.ScrapeTimeout = model.Duration(time.Minute)
		err := s.Ask(t.Context(), &patient, s.Manager().TargetsActive()[job.JobName][0], func(sample func() *labels.Builder) {
			if before, again := sample().Labels().String(), sample().Labels().String(); before != again {
				t.Errorf("%s: the same sample is first %s, then %s", job.JobName, before, again)
			}
			if b := sample(); relabel.ProcessBuilder(b, job.MetricRelabelConfigs...) {
				got = append(got, b.Labels().String())
			} else {
				dropped++
			}
		})
		if err != nil {
			t.Fatalf("%s: %v", job.JobName, err)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: samples (-library +asked):\n%s", job.JobName, diff)
		}
		totals := s.Totals(job.JobName)
		scrapes := totals.Scraped / int64(len(got)+dropped)
		if scrapes < 1 || totals.Scraped != scrapes*int64(len(got)+dropped) || totals.Dropped != scrapes*int64(dropped) {
			t.Errorf("%s: the totals are %+v; a scrape has %d samples, of which %d are dropped", job.JobName, totals, len(got)+dropped, dropped)
		}
	}
	if n := testutil.ToFloat64(s.guard.dropped.WithLabelValues("rules")); n < 1 {
		t.Errorf("%v samples are counted as dropped", n)
	}
}

// startScraper scrapes until the test ends.
func startScraper(t *testing.T, cfg *config.Config, groups Groups) (*Scraper, *scrapesOf) {
	t.Helper()
	heard := &scrapesOf{last: map[string][]string{}}
	s, err := New(Options{Library: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Sink: heard, DiscoveryReloadInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	updates := make(chan Groups, 1)
	done := make(chan error, 1)
	go func() { done <- s.Run(updates) }()
	updates <- groups
	t.Cleanup(func() {
		close(updates)
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	wait(t, "the groups", func() []string {
		if len(s.Groups()) == len(groups) {
			return []string{"taken"}
		}
		return nil
	})
	return s, heard
}

// wait polls until there is something.
func wait(t *testing.T, what string, look func() []string) []string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if found := look(); found != nil {
			return found
		}
	}
	t.Fatalf("within a minute: %s", what)
	return nil
}

// TestAskIsBounded: a target that hangs, is broken or says too much is an error
// that says so, soon.
func TestAskIsBounded(t *testing.T) {
	hang := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sick", http.StatusTeapot) })
	mux.HandleFunc("/much", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for i := range 1000 {
			_, _ = fmt.Fprintf(w, "app{i=\"%d\"} 1\n", i)
		}
	})
	mux.HandleFunc("/junk", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, "ok 1\n{{{\n")
	})
	mux.HandleFunc("/packed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = fmt.Fprint(w, "this is not gzip")
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(hang)
	s := &Scraper{bodySizeLimit: 5000, guard: newGuard(&sink{}, nil, prometheus.NewRegistry())}
	for path, want := range map[string]string{
		"/hang": "deadline exceeded", "/sick": "418", "/much": "longer than 5000 bytes", "/junk": "read the target's answer", "/packed": "unpack its answer",
	} {
		cfg := promconfig.DefaultScrapeConfig
		cfg.JobName, cfg.MetricsPath, cfg.ScrapeInterval, cfg.ScrapeTimeout = "a", path, model.Duration(time.Second), model.Duration(200*time.Millisecond)
		cfg.MetricNameValidationScheme = model.UTF8Validation
		b := labels.NewBuilder(labels.EmptyLabels())
		own := model.LabelSet{"__address__": model.LabelValue(server.Listener.Addr().String())}
		ls, err := scrape.PopulateLabels(b, &cfg, own, nil)
		if err != nil {
			t.Fatal(err)
		}
		if path != "/hang" {
			cfg.ScrapeTimeout = model.Duration(time.Minute)
		}
		err = s.Ask(t.Context(), &cfg, scrape.NewTarget(ls, &cfg, own, nil), func(func() *labels.Builder) {})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", path, err, want)
		}
	}
}

// TestTotals: they are of scrapes that were written, and begin anew with the
// rules of the job, not with those of others.
func TestTotals(t *testing.T) {
	g := newGuard(&sink{}, nil, prometheus.NewRegistry())
	s := &Scraper{guard: g}
	rule := func(regex string) []*relabel.Config {
		return []*relabel.Config{{Action: relabel.Drop, Regex: relabel.MustNewRegexp(regex), SourceLabels: model.LabelNames{"a"}}}
	}
	apply := func(first, second string) {
		g.apply(&config.Config{Prometheus: &promconfig.Config{ScrapeConfigs: []*promconfig.ScrapeConfig{
			{JobName: "first", MetricRelabelConfigs: rule(first)}, {JobName: "second", MetricRelabelConfigs: rule(second)},
		}}})
	}
	written := func(job string, up, scraped, kept float64, end func(storage.AppenderV2) error) {
		t.Helper()
		app := g.AppenderV2(contextOf(job))
		for name, v := range map[string]float64{"up": up, "scrape_samples_scraped": scraped, "scrape_samples_post_metric_relabeling": kept} {
			if _, err := app.Append(0, labels.FromStrings("__name__", name), 0, 1, v, nil, nil, storage.AOptions{MetricFamilyName: name + ofReport}); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(app); err != nil {
			t.Fatal(err)
		}
	}
	commit, rollback := storage.AppenderV2.Commit, storage.AppenderV2.Rollback
	want := func(job string, scraped, dropped int64, counted float64) {
		t.Helper()
		got := s.Totals(job)
		if got.Scraped != scraped || got.Dropped != dropped || got.Since.IsZero() {
			t.Errorf("%s: the totals are %+v, want %d scraped and %d dropped since a time", job, got, scraped, dropped)
		}
		if n := testutil.ToFloat64(g.dropped.WithLabelValues(job)); n != counted {
			t.Errorf("%s: the metric is %v, want %v", job, n, counted)
		}
	}
	apply("x", "y")
	written("first", 1, 10, 7, commit)
	written("first", 1, 10, 6, commit)
	written("first", 0, 9, 5, commit)
	written("first", 1, 100, 50, rollback)
	written("second", 1, 5, 4, commit)
	want("first", 20, 7, 7)
	want("second", 5, 1, 1)
	apply("x", "z")
	written("first", 1, 10, 10, commit)
	written("second", 1, 5, 3, commit)
	want("first", 30, 7, 7)
	want("second", 5, 2, 3)
	if got := s.Totals("none"); got.Scraped != 0 || !got.Since.IsZero() {
		t.Errorf("the totals of no job are %+v", got)
	}
}
