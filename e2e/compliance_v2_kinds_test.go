// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// described checks the metadata of all that came with this name.
func described(name string, kind writev2.Metadata_MetricType, help, unit string) func(*testing.T, []sent) {
	return each(name, func(t *testing.T, s sent) {
		t.Helper()
		got := []any{s.metadata.Type, s.symbol(s.metadata.HelpRef), s.symbol(s.metadata.UnitRef)}
		if diff := cmp.Diff([]any{kind, help, unit}, got); diff != "" {
			t.Errorf("type, help and unit of %s (-want +got):\n%s", name, diff)
		}
	})
}

func metadataCases() []shown {
	head := func(name, kind, help string) string {
		return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
	}
	counter := head("http_requests_total", "counter", "Total HTTP requests")
	isCounter := described("http_requests_total", writev2.Metadata_METRIC_TYPE_COUNTER, "Total HTTP requests", "")
	gauge := head("memory_usage_bytes", "gauge", "Memory usage")
	return []shown{
		{name: "metadata_type_counter", text: counter + "http_requests_total 100\n", check: isCounter},
		{
			name: "metadata_type_gauge", text: gauge + "memory_usage_bytes 1048576\n",
			check: described("memory_usage_bytes", writev2.Metadata_METRIC_TYPE_GAUGE, "Memory usage", ""),
		},
		{
			name: "metadata_type_histogram",
			text: head("d_seconds", "histogram", "D.") + "d_seconds_bucket{le=\"+Inf\"} 1\nd_seconds_sum 5\nd_seconds_count 1\n",
			check: func(t *testing.T, all []sent) {
				t.Helper()
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					described("d_seconds"+suffix, writev2.Metadata_METRIC_TYPE_HISTOGRAM, "D.", "")(t, all)
				}
			},
		},
		{
			name: "metadata_type_summary",
			text: head("rpc_seconds", "summary", "R.") + "rpc_seconds{quantile=\"0.5\"} 0.05\nrpc_seconds_sum 1\nrpc_seconds_count 1\n",
			check: func(t *testing.T, all []sent) {
				t.Helper()
				for _, suffix := range []string{"", "_sum", "_count"} {
					described("rpc_seconds"+suffix, writev2.Metadata_METRIC_TYPE_SUMMARY, "R.", "")(t, all)
				}
			},
		},
		{name: "metadata_help_text", text: counter + "http_requests_total 100\n", check: isCounter},
		{
			name: "metadata_unit", format: openMetrics,
			text:  gauge + "# UNIT memory_usage_bytes bytes\nmemory_usage_bytes 1048576\n# EOF\n",
			check: described("memory_usage_bytes", writev2.Metadata_METRIC_TYPE_GAUGE, "Memory usage", "bytes"),
		},
		{
			name: "metadata_help_with_newlines", text: head("multiline", "gauge", `This is a help\nof two lines`) + "multiline 42\n",
			check: described("multiline", writev2.Metadata_METRIC_TYPE_GAUGE, "This is a help\nof two lines", ""),
		},
		{
			name: "metadata_help_with_special_chars", text: head("special", "counter", `It has "quotes" and \\backslashes\\`) + "special 1\n",
			check: described("special", writev2.Metadata_METRIC_TYPE_COUNTER, `It has "quotes" and \backslashes\`, ""),
		},
		{name: "metadata_help_refs_valid", text: counter + "http_requests_total 42\n", check: isCounter},
		{
			name:  "metadata_consistent_across_series",
			text:  counter + "http_requests_total{method=\"GET\"} 100\nhttp_requests_total{method=\"POST\"} 50\n",
			check: isCounter,
		},
		{
			name: "metadata_empty_help_allowed", text: "# TYPE no_help_metric counter\nno_help_metric 42\n",
			check: described("no_help_metric", writev2.Metadata_METRIC_TYPE_COUNTER, "", ""),
		},
	}
}

// nativeTarget shows a native histogram with observations on both sides of zero and at it.
func nativeTarget() http.Handler {
	registry := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "test_native", Help: "N.", NativeHistogramBucketFactor: 1.1,
	})
	registry.MustRegister(h)
	for _, v := range []float64{-5, -1, 0, 0, 0.5, 5, 50} {
		h.Observe(v)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func histogramCases() []shown {
	text := func(count, sum string) string {
		return "# TYPE test_histogram histogram\ntest_histogram_bucket{le=\"1\"} 0\n" +
			"test_histogram_bucket{le=\"+Inf\"} " + count + "\ntest_histogram_sum " + sum + "\ntest_histogram_count " + count + "\n"
	}
	classic := func(name, count, sum, part string, value float64) shown {
		return shown{name: name, text: text(count, sum), check: has(value, "__name__", "test_histogram"+part)}
	}
	native := func(name string, check func(*testing.T, writev2.Histogram)) shown {
		return shown{
			name: name, handler: nativeTarget(), extra: []string{"scrape_native_histograms: true"},
			check: each("test_native", func(t *testing.T, s sent) {
				t.Helper()
				if len(s.histograms) == 0 {
					t.Fatal("the histogram did not come as a native one")
				}
				for _, h := range s.histograms {
					check(t, h)
				}
			}),
		}
	}
	atLeastOne := func(what string, spans []writev2.BucketSpan, deltas []int64) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if len(spans) == 0 || len(deltas) == 0 {
				t.Errorf("%s buckets: %d spans, %d deltas", what, len(spans), len(deltas))
			}
		}
	}
	return []shown{
		native("native_histogram_structure", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			if h.GetCountInt() != 7 || h.GetZeroCountInt() != 2 || h.Sum != 49.5 {
				t.Errorf("count %d, of them zero %d, sum %v", h.GetCountInt(), h.GetZeroCountInt(), h.Sum)
			}
		}),
		classic("histogram_count_present", "100", "250.5", "_count", 100),
		classic("histogram_sum_present", "100", "250.5", "_sum", 250.5),
		{name: "histogram_buckets_ordered", text: text("250", "500"), check: func(t *testing.T, all []sent) {
			t.Helper()
			wantValues(t, having(all, "__name__", "test_histogram_bucket", "le", "1.0"), 0)
			wantValues(t, having(all, "__name__", "test_histogram_bucket", "le", "+Inf"), 250)
		}},
		native("histogram_positive_buckets", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			atLeastOne("positive", h.PositiveSpans, h.PositiveDeltas)(t)
		}),
		native("histogram_negative_buckets", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			atLeastOne("negative", h.NegativeSpans, h.NegativeDeltas)(t)
		}),
		native("histogram_zero_bucket", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			if h.GetZeroCountInt() != 2 || h.ZeroThreshold <= 0 {
				t.Errorf("%d zeroes below %v", h.GetZeroCountInt(), h.ZeroThreshold)
			}
		}),
		native("histogram_schema", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			if h.Schema != 3 {
				t.Errorf("schema is %d", h.Schema)
			}
		}),
		native("histogram_timestamp", func(t *testing.T, h writev2.Histogram) {
			t.Helper()
			if h.Timestamp < 1e12 {
				t.Errorf("time is %d", h.Timestamp)
			}
		}),
		native("histogram_no_mixed_with_samples", func(*testing.T, writev2.Histogram) {}), // wantSound looks at it.
		classic("histogram_empty_buckets", "0", "0", "_count", 0),
		classic("histogram_large_counts", "1000000000", "5000000000", "_count", 1e9),
	}
}

// exemplified checks that the exemplar of a series came, exactly once.
func exemplified(name string, want map[string]string, value float64, time int64, pairs ...string) func(*testing.T, []sent) {
	return func(t *testing.T, all []sent) {
		t.Helper()
		n := 0
		for _, s := range having(all, append([]string{"__name__", name}, pairs...)...) {
			for i, e := range s.exemplars {
				n++
				got := []any{s.exemplar(i), e.Value, e.Timestamp}
				if diff := cmp.Diff([]any{want, value, time}, got); diff != "" {
					t.Errorf("labels, value and time of the exemplar (-want +got):\n%s", diff)
				}
			}
		}
		if n != 1 {
			t.Errorf("%d exemplars came, want 1", n)
		}
	}
}

func exemplarCases() []shown {
	histogram := "# TYPE d histogram\nd_bucket{le=\"0.1\"} 10 # {trace_id=\"ex1\"} 0.05 1234567890.123\n" +
		"d_bucket{le=\"0.5\"} 50 # {trace_id=\"ex2\"} 0.3 1234567891.0\nd_bucket{le=\"+Inf\"} 100\nd_sum 10.5\nd_count 100\n# EOF\n"
	one := func(name, labels string, want map[string]string) shown {
		return shown{
			name: name, format: openMetrics,
			text:  "# TYPE test counter\ntest_total 100 # {" + labels + "} 99.5 1234567890.5\n# EOF\n",
			check: exemplified("test_total", want, 99.5, 1234567890500),
		}
	}
	trace := map[string]string{"trace_id": "ex1"}
	first := exemplified("d_bucket", trace, 0.05, 1234567890123, "le", "0.1")
	return []shown{
		{name: "exemplar_with_trace_id", text: histogram, format: openMetrics, check: first},
		one("exemplar_with_span_id", `trace_id="abc",span_id="def"`, map[string]string{"trace_id": "abc", "span_id": "def"}),
		one("exemplar_value_valid", `trace_id="ex1"`, trace),
		one("exemplar_timestamp_valid", `trace_id="ex1"`, trace),
		one("exemplar_labels_valid_refs", `trace_id="ex1"`, trace),
		one("exemplar_custom_labels", `user_id="u",request_id="r"`, map[string]string{"user_id": "u", "request_id": "r"}),
		{name: "exemplar_on_histogram", text: histogram, format: openMetrics, check: first},
		one("exemplar_labels_even_length", `trace_id="ex1"`, trace),
		{name: "multiple_exemplars_per_series", text: histogram, format: openMetrics, check: func(t *testing.T, all []sent) {
			t.Helper()
			first(t, all)
			exemplified("d_bucket", map[string]string{"trace_id": "ex2"}, 0.3, 1234567891000, "le", "0.5")(t, all)
		}},
	}
}

func combinedCases() []shown {
	counter := "# HELP http_requests_total Total HTTP requests\n# TYPE http_requests_total counter\n"
	isCounter := described("http_requests_total", writev2.Metadata_METRIC_TYPE_COUNTER, "Total HTTP requests", "")
	exemplars := exemplarCases()
	histogram := "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 50\nh_bucket{le=\"+Inf\"} 300\nh_sum 200.5\nh_count 300\n"
	family := func(t *testing.T, all []sent) {
		t.Helper()
		wantValues(t, having(all, "__name__", "h_bucket", "le", "0.1"), 50)
		wantValues(t, having(all, "__name__", "h_bucket", "le", "+Inf"), 300)
		wantValues(t, named(all, "h_sum"), 200.5)
		wantValues(t, named(all, "h_count"), 300)
	}
	mixed := counter + "http_requests_total{method=\"GET\"} 1000\nhttp_requests_total{method=\"POST\"} 500\n"
	return []shown{
		{name: "samples_with_metadata", text: mixed, check: func(t *testing.T, all []sent) {
			t.Helper()
			isCounter(t, all)
			wantValues(t, having(all, "__name__", "http_requests_total", "method", "POST"), 500)
		}},
		{name: "samples_with_exemplars", text: exemplars[1].text, format: openMetrics, check: exemplars[1].check},
		{
			name: "histogram_with_metadata_and_exemplars", text: "# HELP d D.\n" + exemplars[0].text, format: openMetrics,
			check: func(t *testing.T, all []sent) {
				t.Helper()
				exemplars[0].check(t, all)
				described("d_bucket", writev2.Metadata_METRIC_TYPE_HISTOGRAM, "D.", "")(t, all)
			},
		},
		{name: "multiple_metric_types", text: mixed + "temperature 5\n" + histogram, check: func(t *testing.T, all []sent) {
			t.Helper()
			family(t, all)
			isCounter(t, all)
			wantValues(t, named(all, "temperature"), 5)
		}},
		{name: "high_cardinality_labels", text: grid("http_requests_total", 6), check: hasGrid("http_requests_total", 6)},
		{name: "complete_metric_family", text: histogram, check: family},
		{name: "mixed_labels_and_metadata", text: mixed, check: isCounter},
		{
			// A target that speaks of its own health has it set aside.
			name: "real_world_scenario", text: "# TYPE up gauge\nup 1\n# TYPE go_memstats_alloc_bytes gauge\ngo_memstats_alloc_bytes 2097152\n" + mixed + histogram,
			check: func(t *testing.T, all []sent) {
				t.Helper()
				family(t, all)
				wantValues(t, named(all, "go_memstats_alloc_bytes"), 2097152)
				wantValues(t, having(all, "__name__", "http_requests_total", "method", "GET"), 1000)
			},
		},
	}
}
