// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// labelled is a case with one series test_metric and these labels, which have to arrive as they are.
func labelled(name, labels string, pairs ...string) shown {
	return shown{
		name: name, text: "test_metric{" + labels + "} 42\n",
		check: has(42, append([]string{"__name__", "test_metric"}, pairs...)...),
	}
}

func labelCases() []shown {
	long := strings.Repeat("This is a very long label value. ", 6)
	name := "very_long_label_name_that_exceeds_normal_length_but_is_still_valid"
	matches := func(pattern string, pick func(sent) []string) func(*testing.T, []sent) {
		return func(t *testing.T, all []sent) {
			t.Helper()
			for _, s := range all {
				for _, word := range pick(s) {
					if !regexp.MustCompile(pattern).MatchString(word) {
						t.Errorf("%q does not match %s", word, pattern)
					}
				}
			}
		}
	}
	var many, pairs []string
	for i := range 10 {
		many = append(many, fmt.Sprintf("l%d=\"v%d\"", i+1, i+1))
		pairs = append(pairs, fmt.Sprintf("l%d", i+1), fmt.Sprintf("v%d", i+1))
	}
	// wantSound checks order, uniqueness and emptiness for all series of all cases.
	return []shown{
		labelled("label_lexicographic_ordering", `zzz="3",aaa="1",bbb="2"`, "aaa", "1", "bbb", "2", "zzz", "3"),
		{name: "metric_name_label_present", text: "test_metric 42\n", check: has(42, "__name__", "test_metric")},
		{
			name: "metric_name_format_valid", text: "valid_metric_name:subsystem_total 42\n",
			check: matches(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`, func(s sent) []string { return []string{s.name()} }),
		},
		{
			name: "label_name_format_valid", text: `test_metric{valid_label="value",another_1="val2"} 42` + "\n",
			check: matches(`^[a-zA-Z_][a-zA-Z0-9_]*$`, func(s sent) []string { return s.names }),
		},
		labelled("no_duplicate_label_names", `foo="bar",baz="qux"`, "foo", "bar", "baz", "qux"),
		labelled("label_names_not_empty", `label="value"`, "label", "value"),
		labelled("label_values_may_be_empty", `empty=""`, "empty", ""),
		{
			name: "reserved_label_prefix", text: `test_metric{normal="value"} 42` + "\n",
			check: matches(`^(__name__|[^_].*|_[^_].*)$`, func(s sent) []string { return s.names }),
		},
		labelled("unicode_in_label_values", `emoji="🚀",chinese="测试"`, "emoji", "🚀", "chinese", "测试"),
		labelled("special_chars_in_label_values", `path="/api/v1/users",query="foo=bar&baz=qux",e="\\ \" \n"`,
			"path", "/api/v1/users", "query", "foo=bar&baz=qux", "e", "\\ \" \n"),
		labelled("very_long_label_names", name+`="value"`, name, "value"),
		labelled("very_long_label_values", `description="`+long+`"`, "description", long),
		labelled("many_labels_per_series", strings.Join(many, ","), pairs...),
	}
}

func symbolCases() []shown {
	unique := func(t *testing.T, all []sent) {
		t.Helper()
		for _, s := range all {
			seen := map[string]bool{}
			for _, symbol := range s.in.symbols {
				if seen[symbol] {
					t.Fatalf("symbol %q is there twice", symbol)
				}
				seen[symbol] = true
			}
		}
	}
	return []shown{
		{name: "empty_string_at_index_zero", text: "test_metric 42\n", check: func(t *testing.T, all []sent) {
			t.Helper()
			for _, s := range all {
				if s.in.symbols[0] != "" {
					t.Errorf("the first symbol is %q", s.in.symbols[0])
				}
			}
		}},
		{
			name: "string_deduplication", check: unique,
			text: "test_metric{foo=\"bar\",baz=\"qux\"} 1\nanother_metric{foo=\"bar\"} 3\n",
		},
		// A reference that leads nowhere, or an odd number of them, makes a request malformed.
		labelled("labels_refs_valid_indices", `label="value"`, "label", "value"),
		labelled("labels_refs_even_length", `label="value"`, "label", "value"),
		{name: "SymbolTableEfficiency", check: unique, text: "http_requests_total{method=\"GET\",status=\"200\"} 100\n" +
			"http_requests_total{method=\"POST\",status=\"200\"} 50\nhttp_requests_total{method=\"GET\",status=\"404\"} 10\n"},
	}
}

// grid is n series of one metric with the values 0 to n-1.
func grid(metric string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s{path=\"/api/v1/endpoint_%d\",method=\"GET\"} %d\n", metric, i, i)
	}
	return b.String()
}

// hasGrid checks that all series of a grid came.
func hasGrid(metric string, n int) func(*testing.T, []sent) {
	return func(t *testing.T, all []sent) {
		t.Helper()
		byPath := map[string][]sent{}
		for _, s := range named(all, metric) {
			byPath[s.labels["path"]] = append(byPath[s.labels["path"]], s)
		}
		if len(byPath) != n {
			t.Errorf("%d series came, want %d", len(byPath), n)
		}
		for i := range n {
			wantValues(t, byPath[fmt.Sprintf("/api/v1/endpoint_%d", i)], float64(i))
		}
	}
}

func edgeCases() []shown {
	huge := strings.Repeat("x", 10000)
	name := "metric_" + strings.Repeat("very_long_name_", 50)
	future := time.Now().Add(24 * time.Hour).UnixMilli()
	special := map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "ninf": math.Inf(-1), "zero": 0, "negative": -123.45}
	return []shown{
		{name: "empty_scrape", text: "# No metrics\n", check: has(1, "__name__", "up")},
		labelled("huge_label_values", `large_label="`+huge+`"`, "large_label", huge),
		labelled("unicode_in_labels", `emoji="🚀",arabic="مرحبا",vietnamese="tôi yêu việt nam"`,
			"emoji", "🚀", "arabic", "مرحبا", "vietnamese", "tôi yêu việt nam"),
		{name: "many_timeseries", text: grid("metric", 100), check: hasGrid("metric", 100)},
		{name: "high_cardinality", text: grid("http_requests", 50), check: hasGrid("http_requests", 50)},
		{name: "very_long_metric_name", text: name + " 42\n", check: has(42, "__name__", name)},
		{
			name: "special_float_combinations",
			text: "s{type=\"nan\"} NaN\ns{type=\"inf\"} +Inf\ns{type=\"ninf\"} -Inf\ns{type=\"zero\"} 0\ns{type=\"negative\"} -123.45\n",
			check: func(t *testing.T, all []sent) {
				t.Helper()
				for kind, value := range special {
					wantValues(t, having(all, "__name__", "s", "type", kind), value)
				}
			},
		},
		{name: "zero_timestamp", text: "test_metric 42 0\n", check: func(t *testing.T, all []sent) {
			t.Helper()
			for _, sample := range values(named(all, "test_metric")) {
				if sample.Timestamp != 0 || sample.Value != 42 {
					t.Errorf("the sample at 0 came as %v at %d", sample.Value, sample.Timestamp)
				}
			}
			wantValues(t, named(all, "up"), 1)
		}},
		// Prometheus refuses what is more than ten minutes ahead, and goes on.
		{name: "future_timestamp", text: fmt.Sprintf("other 1\ntest_metric 42 %d\n", future), check: func(t *testing.T, all []sent) {
			t.Helper()
			wantValues(t, named(all, "other"), 1)
			if got := named(all, "test_metric"); len(got) != 0 {
				t.Errorf("a sample of tomorrow came: %v", got[0].samples)
			}
		}},
		{
			name: "metric_name_with_colons", text: "http:request:duration:seconds 0.5\n",
			check: has(0.5, "__name__", "http:request:duration:seconds"),
		},
		{name: "stale_marker", text: "test_metric StaleNaN\n", check: has(0, "__name__", "up")}, // It is no number.
		{
			name: "mixed_sample_and_histogram_families",
			text: "requests_total 100\ntemperature_celsius 22.5\nresponse_time_bucket{le=\"+Inf\"} 100\n" +
				"rpc_duration{quantile=\"0.5\"} 0.05\n",
			check: func(t *testing.T, all []sent) {
				t.Helper()
				wantValues(t, named(all, "requests_total"), 100)
				wantValues(t, named(all, "temperature_celsius"), 22.5)
				wantValues(t, having(all, "__name__", "response_time_bucket", "le", "+Inf"), 100)
				wantValues(t, having(all, "__name__", "rpc_duration", "quantile", "0.5"), 0.05)
			},
		},
		{name: "RobustnessUnderLoad", text: grid("load_test_metric", 200), check: hasGrid("load_test_metric", 200)},
	}
}

func batchingCases() []shown {
	together := func(metric string, n int) func(*testing.T, []sent) {
		return func(t *testing.T, all []sent) {
			t.Helper()
			hasGrid(metric, n)(t, all)
			most := 0
			for _, s := range named(all, metric) {
				most = max(most, len(named(ofJob(s.in.series, s.labels["job"]), metric)))
			}
			if most < n/2 {
				t.Errorf("%d of the %d series came in one request at most", most, n)
			}
		}
	}
	return []shown{
		{name: "multiple_series_per_request", text: grid("http_requests_total", 6), check: together("http_requests_total", 6)},
		{name: "batch_size_reasonable", text: grid("metric", 12000), check: func(t *testing.T, all []sent) {
			t.Helper()
			hasGrid("metric", 12000)(t, all)
			for _, s := range all {
				if samples, _, _ := s.in.written(); samples > 2000 {
					t.Fatalf("%d samples came in one request, and max_samples_per_send is 2000", samples)
				}
			}
		}},
		{name: "handles_varying_cardinality", text: grid("api_calls", 5) + "low 42\n", check: together("api_calls", 5)},
		{name: "efficient_symbol_reuse", text: grid("http_requests", 5), check: symbolCases()[1].check},
		{
			name: "metadata_batching", text: "# HELP a_total Help of it.\n# TYPE a_total counter\n" + grid("a_total", 4),
			check: each("a_total", func(t *testing.T, s sent) {
				t.Helper()
				if len(s.samples) == 0 || s.symbol(s.metadata.HelpRef) != "Help of it." {
					t.Errorf("%d samples came with the help %q", len(s.samples), s.symbol(s.metadata.HelpRef))
				}
			}),
		},
		{name: "ConcurrentRequests", text: grid("metric", 5), check: hasGrid("metric", 5)},
	}
}
