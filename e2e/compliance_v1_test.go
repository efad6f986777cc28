// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/value"
)

// collected is a target that shows one metric of the client library.
func collected(c prometheus.Collector) http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// clock is a target that shows the time, in milliseconds.
func clock() http.Handler {
	return collected(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "now", Help: "It."}, func() float64 {
		return float64(time.Now().Unix() * 1000)
	}))
}

// counting shows the number of the scrapes before.
func counting() http.Handler {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "scrapes_total", Help: "It."})
	shows := collected(counter)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shows.ServeHTTP(w, r)
		counter.Inc()
	})
}

// vanishing shows a series until it has come.
func vanishing(come func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		if !come() {
			_, _ = fmt.Fprintln(w, "stale 1") // The agent waits for it.
		}
	})
}

// vanished says whether a series that vanishes has come with its marker.
func vanished(r *recorder) error {
	for _, sample := range values(named(r.sent(), "stale")) {
		if value.IsStaleNaN(sample.Value) {
			return nil
		}
	}
	return errNotYet
}

// v1Cases are those of the public sender suite of remote write 1.0 that are about what is in a request.
func v1Cases(dest *recorder) []shown {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gauge", Help: "It."})
	gauge.Set(42)
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "histogram", Help: "It.", Buckets: []float64{1, 2}})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{
		Name: "summary", Help: "It.", Objectives: map[float64]float64{0.5: 0.05, 0.9: 0.01, 0.99: 0.001},
	})
	for _, v := range []float64{1, 2} {
		histogram.Observe(v)
	}
	for _, v := range []float64{1, 2, 3} {
		summary.Observe(v)
	}
	isGauge := has(42, "__name__", "gauge")
	isNow := func(t *testing.T, all []sent) {
		t.Helper()
		for _, sample := range values(named(all, "now")) {
			if math.Abs(sample.Value-float64(sample.Timestamp)) > 10_000 {
				t.Errorf("%v came for the time %d", sample.Value, sample.Timestamp)
			}
		}
		wantValues(t, named(all, "up"), 1)
	}
	fails := func(t *testing.T, all []sent) {
		t.Helper()
		wantValues(t, named(all, "up"), 0)
		if got := append(named(all, "test"), having(all, "label", "value")...); len(got) != 0 {
			t.Errorf("%v came of a scrape that is not valid", got[0].labels)
		}
	}
	return []shown{
		{name: "Counter", handler: counting(), check: func(t *testing.T, all []sent) {
			t.Helper()
			for i, sample := range values(named(all, "scrapes_total")) {
				if sample.Value != float64(i) {
					t.Fatalf("the counter came as %v", values(named(all, "scrapes_total")))
				}
			}
			wantValues(t, named(all, "up"), 1)
		}},
		{name: "Gauge", handler: clock(), check: isNow},
		{name: "Histogram", handler: collected(histogram), check: func(t *testing.T, all []sent) {
			t.Helper()
			wantValues(t, having(all, "__name__", "histogram_bucket", "le", "1.0"), 1)
			wantValues(t, having(all, "__name__", "histogram_bucket", "le", "2.0"), 2)
			wantValues(t, having(all, "__name__", "histogram_bucket", "le", "+Inf"), 2)
			wantValues(t, named(all, "histogram_sum"), 3)
			wantValues(t, named(all, "histogram_count"), 2)
		}},
		{name: "Summary", handler: collected(summary), check: func(t *testing.T, all []sent) {
			t.Helper()
			for quantile, value := range map[string]float64{"0.5": 2, "0.9": 3, "0.99": 3} {
				wantValues(t, having(all, "__name__", "summary", "quantile", quantile), value)
			}
			wantValues(t, named(all, "summary_sum"), 6)
			wantValues(t, named(all, "summary_count"), 3)
		}},
		{name: "Up", handler: collected(gauge), check: has(1, "__name__", "up")},
		{name: "Invalid", text: "\n# this is not valid prometheus\n1234notvali}{ 444\n", check: fails},
		{name: "JobLabel", handler: collected(gauge), check: has(42, "__name__", "gauge", "job", "JobLabel")},
		{name: "InstanceLabel", handler: collected(gauge), check: func(t *testing.T, all []sent) {
			t.Helper()
			isGauge(t, all)
			for _, s := range all {
				if !strings.HasPrefix(s.labels["instance"], "127.0.0.1:") {
					t.Errorf("instance is %q", s.labels["instance"])
				}
			}
		}},
		{name: "SortedLabels", text: "test{b=\"2\",a=\"1\"} 1.0\n", check: has(1, "__name__", "test", "a", "1", "b", "2")},
		{name: "RepeatedLabels", text: "test{a=\"1\",a=\"1\"} 1.0\n", check: fails},
		{name: "EmptyLabels", text: "test{a=\"\"} 1.0\n", check: has(1, "__name__", "test", "a", "")},
		{name: "NameLabel", text: "{label=\"value\"} 1.0\n", check: fails},
		{
			name: "HonorLabels", text: "test{job=\"original\", instance=\"foo\"} 1.0\n",
			check: has(1, "__name__", "test", "exported_job", "original", "exported_instance", "foo"),
		},
		{name: "Staleness", handler: vanishing(func() bool { return len(named(dest.sent(), "stale")) > 0 }), check: func(t *testing.T, all []sent) {
			t.Helper()
			got := values(named(all, "stale"))
			for i, sample := range got {
				if last := i == len(got)-1; last != value.IsStaleNaN(sample.Value) || !last && sample.Value != 1 {
					t.Errorf("the series that vanished came as %v, want 1 and then a staleness marker", got)
				}
			}
			if len(got) < 2 {
				t.Errorf("the series that vanished came as %v", got)
			}
		}},
		{name: "Timestamp", handler: collected(gauge), check: isGauge}, // wantValues looks at the times.
		{name: "Headers", handler: clock(), check: func(t *testing.T, all []sent) {
			t.Helper()
			isNow(t, all)
			for name, want := range map[string]string{
				"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0",
			} {
				if got := all[0].in.header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		}},
		{name: "Ordering", text: grid("test", 1000), check: hasGrid("test", 1000)}, // wantSound looks at the order.
	}
}

// TestComplianceV1 runs the cases of the public sender suite of remote write 1.0, by its names.
func TestComplianceV1(t *testing.T) {
	t.Parallel()
	dest := startRecorder(t, nil)
	slow := startRecorder(t, func(int, *recorded) reply { return reply{delay: rand.N(time.Second)} })
	cases := v1Cases(dest)
	var list []string
	for _, c := range cases {
		if c.handler == nil {
			c.handler = exposes(plain, c.text)
		}
		list = append(list, job(c.name, []string{startTarget(t, c.handler)}))
	}
	// The interval is the time that a scrape has: so many at once take a busy machine a while.
	a := startAgent(t, global(4*time.Second)+destinations(
		remoteWrite(dest.url, messageV1, soon, "name: quick"), remoteWrite(slow.url, messageV1, soon, "name: slow"),
	)+jobs(list...))
	for _, c := range cases {
		a.until(t, 120*time.Second, c.name+" is scraped four times", func(context.Context) error {
			return atLeast("samples of up", len(values(ofJob(named(slow.sent(), "up"), c.name))), 4)
		})
	}
	for _, r := range []*recorder{dest, slow} {
		a.until(t, 60*time.Second, "the staleness marker has come", func(context.Context) error { return vanished(r) })
	}
	interrupt(t, a)
	for name, r := range map[string]*recorder{"quick": dest, "slow": slow} {
		wantWellFormed(t, r)
		all := r.sent()
		for _, c := range cases {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				mine := ofJob(all, c.name)
				wantSound(t, mine)
				c.check(t, mine)
			})
		}
	}
}

// TestComplianceV1Retries: what is answered with 500 comes again, what is answered with 400 does not.
func TestComplianceV1Retries(t *testing.T) {
	t.Parallel()
	first := func(status int) *recorder {
		return startRecorder(t, func(n int, _ *recorded) reply {
			if n == 1 {
				return reply{status: status, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body: "no\n"}
			}
			return reply{}
		})
	}
	again, refused := first(http.StatusInternalServerError), first(http.StatusBadRequest)
	a := startAgent(t, global(time.Second)+destinations(
		remoteWrite(again.url, messageV1, "name: again"), remoteWrite(refused.url, messageV1, "name: refused"),
	)+jobs(job("test", []string{startTarget(t, clock())})))
	for _, r := range []*recorder{again, refused} {
		a.until(t, 60*time.Second, "something is stored", func(context.Context) error {
			return atLeast("requests", len(r.all()), 2)
		})
	}
	interrupt(t, a)

	// comes counts how often the last sample of the first request came at all.
	comes := func(r *recorder) (n int) {
		of := values(named(r.all()[0].series, "now"))
		if len(of) == 0 {
			t.Fatal("the first request has no sample of the target")
		}
		for _, sample := range values(named(r.sent(), "now")) {
			if sample.Timestamp == of[len(of)-1].Timestamp {
				n++
			}
		}
		return n
	}
	t.Run("Retries500", func(t *testing.T) {
		if n := comes(again); n != 2 {
			t.Errorf("the sample came %d times, want 2", n)
		}
	})
	t.Run("Retries400", func(t *testing.T) {
		if n := comes(refused); n != 1 {
			t.Errorf("the sample came %d times, want 1", n)
		}
	})
}
