// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/receiver"
)

func sampleCases() []shown {
	one := func(name, metric, text string, value float64) shown {
		return shown{name: name, text: metric + " " + text + "\n", check: has(value, "__name__", metric)}
	}
	return []shown{
		one("float_value_encoding", "test_metric", "123.45", 123.45),
		one("integer_value_encoding", "test_counter_total", "42", 42),
		one("zero_value_encoding", "test_gauge", "0", 0),
		one("negative_value_encoding", "temperature_celsius", "-15.5", -15.5),
		one("positive_infinity_encoding", "test_gauge", "+Inf", math.Inf(1)),
		one("negative_infinity_encoding", "test_gauge", "-Inf", math.Inf(-1)),
		one("nan_encoding", "test_gauge", "NaN", math.NaN()),
		one("large_float_values", "test_large", "1.7976931348623157e+308", math.MaxFloat64),
		one("small_float_values", "test_small", "2.2250738585072014e-308", 2.2250738585072014e-308),
		one("scientific_notation", "test_scientific", "1.23e-4", 1.23e-4),
		one("precision_preservation", "test_precision", "0.123456789012345", 0.123456789012345),
		one("job_instance_labels_present", "test_metric", "42", 42), // wantSound looks at the labels.
		one("timestamp_milliseconds_format", "test_metric", "42", 42),
		one("timestamp_recent", "test_metric", "42", 42),
		one("multiple_samples_same_series", "test_counter_total", "100", 100),
		{name: "SampleOrdering", text: "metric_a 1\nmetric_b 2\nmetric_c 3\n", check: has(2, "__name__", "metric_b")},
	}
}

func timestampCases() []shown {
	counter := "# TYPE test_counter counter\ntest_counter_total 100\n"
	histogram := "# TYPE test_histogram histogram\ntest_histogram_count 100\ntest_histogram_sum 250.0\n" +
		"test_histogram_bucket{le=\"+Inf\"} 100\n"
	unset := each("test_counter_total", func(t *testing.T, s sent) {
		t.Helper()
		for _, sample := range s.samples {
			if sample.StartTimestamp != 0 {
				t.Errorf("the start is %d, and the target has told none", sample.StartTimestamp)
			}
		}
	})
	return []shown{
		{name: "timestamp_int64_milliseconds", text: "test_counter_total 42\n", check: has(42, "__name__", "test_counter_total")},
		{name: "timestamp_ordering_within_series", text: "metric_a 1\nmetric_b 2\n", check: has(1, "__name__", "metric_a")},
		{name: "timestamp_precision", text: "test_metric 42\n", check: func(t *testing.T, all []sent) {
			t.Helper()
			seconds := 0
			for _, sample := range values(all) {
				if sample.Timestamp%1000 == 0 {
					seconds++
				}
			}
			if seconds == len(values(all)) {
				t.Logf("all %d times are whole seconds", seconds) // One in a thousand runs.
			}
			wantValues(t, named(all, "test_metric"), 42)
		}},
		{name: "timestamp_future_values", text: "test_metric 42\n", check: has(42, "__name__", "test_metric")},
		{name: "created_timestamp_for_counters", text: counter, check: unset},
		{name: "created_timestamp_for_histograms", text: histogram, check: has(100, "__name__", "test_histogram_count")},
		{name: "created_timestamp_zero_handling", text: counter, check: unset},
		{name: "created_timestamp_before_sample_timestamp", text: counter, check: unset},
		{name: "start_timestamp_before_sample_timestamp", text: counter, check: unset},
	}
}

// complianceSamples is the one scenario of the suite's newer frame.
func complianceSamples() []shown {
	begin := time.Now().Add(-2 * time.Hour).UnixMilli()
	seconds := fmt.Sprintf("%.3f", float64(begin)/1000)
	text := "# TYPE test_counter counter\ntest_counter_total 101.13\ntest_counter_created " + seconds + "\n" +
		"# TYPE test_histogram histogram\ntest_histogram_count 100\ntest_histogram_sum 250.0\n" +
		"test_histogram_bucket{le=\"+Inf\"} 100\ntest_histogram_created " + seconds + "\n" +
		"# TYPE test_gauge_with_ts gauge\ntest_gauge_with_ts 2\n# EOF\n"
	starts := func(name string) func(*testing.T, []sent) {
		return each(name, func(t *testing.T, s sent) {
			t.Helper()
			for _, sample := range s.samples {
				if sample.StartTimestamp != begin {
					t.Errorf("start of %s is %d, want %d", name, sample.StartTimestamp, begin)
				}
			}
		})
	}
	return []shown{
		{name: "value", text: text, format: openMetrics, check: has(101.13, "__name__", "test_counter_total")},
		{name: "timestamp", text: text, format: openMetrics, check: has(2, "__name__", "test_gauge_with_ts")},
		{name: "start_timestamp for counters", text: text, format: openMetrics, check: starts("test_counter_total")},
		{name: "start_timestamp for histograms", text: text, format: openMetrics, check: starts("test_histogram_count")},
	}
}

func protocolCases() []shown {
	requests := func(check func(*testing.T, *recorded)) func(*testing.T, []sent) {
		return func(t *testing.T, all []sent) {
			t.Helper()
			for _, s := range all {
				check(t, s.in)
			}
		}
	}
	header := func(name, want string) func(*testing.T, []sent) {
		return requests(func(t *testing.T, in *recorded) {
			t.Helper()
			if got := in.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		})
	}
	kind := "application/x-protobuf;proto=" + receiver.ProtocolV2
	text := "test_metric 42\n"
	return []shown{
		{name: "content_type_protobuf", text: text, check: header("Content-Type", kind)},
		{name: "content_type_with_proto_param", text: text, check: header("Content-Type", kind)},
		{name: "content_encoding_snappy", text: text, check: header("Content-Encoding", "snappy")},
		{name: "version_header_present", text: text, check: header("X-Prometheus-Remote-Write-Version", "2.0.0")},
		{name: "version_header_value", text: text, check: header("X-Prometheus-Remote-Write-Version", "2.0.0")},
		{name: "user_agent_present", text: text, check: requests(func(t *testing.T, in *recorded) {
			t.Helper()
			if got := in.header.Get("User-Agent"); !strings.HasPrefix(got, "torchbearer/") {
				t.Errorf("user agent is %q", got)
			}
		})},
		{name: "snappy_block_format", text: text, check: requests(func(t *testing.T, in *recorded) {
			t.Helper()
			if strings.HasPrefix(string(in.body), "\xff\x06\x00\x00sNaPpY") {
				t.Error("the body is in snappy's stream format")
			}
		})},
		{name: "protobuf_parseable", text: text, check: requests(func(t *testing.T, in *recorded) {
			t.Helper()
			if in.err != nil || len(in.symbols) == 0 {
				t.Errorf("%d symbols, error %v", len(in.symbols), in.err)
			}
		})},
		{name: "HTTPMethod", text: text, check: requests(func(t *testing.T, in *recorded) {
			t.Helper()
			if in.method != http.MethodPost {
				t.Errorf("method is %s", in.method)
			}
		})},
	}
}
