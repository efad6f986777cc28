// SPDX-License-Identifier: Apache-2.0

package logged

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
)

func TestPlausibleUnits(t *testing.T) {
	for name, tc := range map[string]struct{ unit, want string }{
		"up":                          {"targets", ""},
		"scrape_duration_seconds":     {"seconds", "seconds"},
		"http_requests_bytes_total":   {"bytes", "bytes"},
		"scrape_samples_scraped":      {"samples", ""},
		"process_start_time_seconds":  {"", ""},
		"seconds":                     {"seconds", ""},
		"request_size_bytes_created":  {"bytes", "bytes"},
		"something_milliseconds_info": {"seconds", ""},
	} {
		got := Plausible(name, metadata.Metadata{Type: model.MetricTypeCounter, Help: "h", Unit: tc.unit})
		if got.Unit != tc.want || got.Help != "h" || got.Type != model.MetricTypeCounter {
			t.Errorf("%s: %+v, want unit %q", name, got, tc.want)
		}
	}
}

func TestFamily(t *testing.T) {
	for _, tc := range []struct {
		name string
		of   model.MetricType
		want string
	}{
		{"a_bucket", model.MetricTypeHistogram, "a"},
		{"a_gsum", model.MetricTypeGaugeHistogram, "a"},
		{"a_count", model.MetricTypeSummary, "a"},
		{"a_bucket", model.MetricTypeSummary, "a_bucket"},
		{"a_count", model.MetricTypeCounter, "a_count"},
		{"_sum", model.MetricTypeSummary, "_sum"},
	} {
		if got := Family(tc.name, tc.of); got != tc.want {
			t.Errorf("%s of type %s is of the family %q, want %q", tc.name, tc.of, got, tc.want)
		}
	}
}
