// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A shown is a target that shows a text, and what has to arrive of it: one case of the public compliance suite of
// remote-write senders, by the suite's name.
type shown struct {
	name    string
	text    string
	format  string       // plain, if it is empty
	handler http.Handler // in place of text
	extra   []string     // lines of its job
	check   func(t *testing.T, all []sent)
}

// TestComplianceV2 runs the cases of the public sender suite of remote write 2.0 that are about what is in a request. Each
// case is a job of one agent, which sends all to a receiver of 2.0 and to one of 1.0.
func TestComplianceV2(t *testing.T) {
	t.Parallel()
	groups := []struct {
		name  string
		cases []shown
	}{
		{"Compliance", complianceSamples()},
		{"SampleEncoding", sampleCases()},
		{"TimestampEncoding", timestampCases()},
		{"SymbolTable", symbolCases()},
		{"ProtocolCompliance", protocolCases()},
		{"LabelValidation", labelCases()},
		{"MetadataEncoding", metadataCases()},
		{"HistogramEncoding", histogramCases()},
		{"ExemplarEncoding", exemplarCases()},
		{"CombinedFeatures", combinedCases()},
		{"EdgeCases", edgeCases()},
		{"BatchingBehavior", batchingCases()},
	}
	var all []string
	texts := map[string]shown{}
	for _, g := range groups {
		for _, c := range g.cases {
			if _, ok := texts[g.name+"/"+c.name]; ok {
				t.Fatalf("case %s/%s is there twice", g.name, c.name)
			}
			texts[g.name+"/"+c.name] = c
			all = append(all, g.name+"/"+c.name)
		}
	}
	v2, v1 := startRecorder(t, nil), startRecorder(t, nil)
	showAll(t, v2, v1, all, texts)

	wantWellFormed(t, v2)
	wantWellFormed(t, v1)
	byJob := map[string][]sent{}
	for _, s := range v2.sent() {
		byJob[s.labels["job"]] = append(byJob[s.labels["job"]], s)
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					mine := byJob[g.name+"/"+c.name]
					wantSound(t, mine)
					c.check(t, mine)
				})
			}
		})
	}
	t.Run("RemoteWrite1Compatibility", func(t *testing.T) { wantCompatible(t, v1) })
}

// showAll runs an agent with a job for each case until it has scraped each three times, and interrupts it.
func showAll(t *testing.T, v2, v1 *recorder, names []string, cases map[string]shown) {
	t.Helper()
	var list []string
	for _, name := range names {
		c := cases[name]
		if c.format == "" {
			c.format = plain
		}
		if c.handler == nil {
			c.handler = exposes(c.format, c.text)
		}
		list = append(list, job(name, []string{startTarget(t, c.handler)}, c.extra...))
	}
	// The interval is the time that a scrape has: so many at once take a busy machine a while.
	a := startAgent(t, global(4*time.Second)+destinations(
		remoteWrite(v2.url, messageV2, soon, "name: v2", "send_exemplars: true", "send_native_histograms: true"),
		remoteWrite(v1.url, messageV1, soon, "name: v1", "send_exemplars: true", "metadata_config: {send_interval: 1s}"),
	)+jobs(list...), "--enable-feature=st-storage")
	for _, r := range []*recorder{v2, v1} {
		a.until(t, 120*time.Second, "each target is scraped three times", func(context.Context) error {
			ups := map[string]int{}
			for _, s := range named(r.sent(), "up") {
				ups[s.labels["job"]] += len(s.samples)
			}
			for _, name := range names {
				if err := atLeast("samples of up of "+name, ups[name], 3); err != nil {
					return err
				}
			}
			return nil
		})
	}
	interrupt(t, a)
}

// wantSound checks what holds for every series: its labels, and the order and the times of its samples.
func wantSound(t *testing.T, all []sent) {
	t.Helper()
	if len(all) == 0 {
		t.Fatal("nothing came")
	}
	last := map[string]int64{}
	for _, s := range all {
		if !slices.IsSorted(s.names) || len(s.labels) != len(s.names) {
			t.Errorf("the labels are not sorted, or not unique: %v", s.names)
		}
		for name, value := range s.labels {
			if name == "" || value == "" {
				t.Errorf("a label of %v is empty: %q=%q", s.names, name, value)
			}
		}
		for _, name := range []string{"__name__", "job", "instance"} {
			if s.labels[name] == "" {
				t.Errorf("label %s is missing of %v", name, s.labels)
			}
		}
		if s.labels["clustername"] != cluster || s.labels["environment"] != environment {
			t.Errorf("%v does not have the agent's labels", s.labels)
		}
		if len(s.samples) > 0 && len(s.histograms) > 0 {
			t.Errorf("%s has both samples and histograms", s.name())
		}
		for _, sample := range s.samples {
			key := fmt.Sprint(s.labels)
			if before, ok := last[key]; ok && sample.Timestamp <= before {
				t.Errorf("%v: time %d comes after %d", s.labels, sample.Timestamp, before)
			}
			last[key] = sample.Timestamp
			if sample.StartTimestamp > sample.Timestamp {
				t.Errorf("%v begins at %d, after %d", s.labels, sample.StartTimestamp, sample.Timestamp)
			}
		}
	}
}

// wantValues checks that the series arrived in at least as many scrapes as all were waited for, always with this value.
func wantValues(t *testing.T, all []sent, value float64) {
	t.Helper()
	got := values(all)
	if len(got) < 3 {
		t.Fatalf("%d samples came, want 3 or more", len(got))
	}
	for _, sample := range got {
		if math.Float64bits(sample.Value) != math.Float64bits(value) && !(math.IsNaN(value) && math.IsNaN(sample.Value)) {
			t.Errorf("value is %v, want %v", sample.Value, value)
		}
		if age := time.Since(time.UnixMilli(sample.Timestamp)); age < 0 || age > 10*time.Minute {
			t.Errorf("the sample's time is %d, %s ago", sample.Timestamp, age)
		}
	}
}

// has is a check for one series with always the same value.
func has(value float64, pairs ...string) func(*testing.T, []sent) {
	return func(t *testing.T, all []sent) {
		t.Helper()
		wantValues(t, having(all, pairs...), value)
	}
}

// each is a check that everything that came with this name passes.
func each(name string, check func(*testing.T, sent)) func(*testing.T, []sent) {
	return func(t *testing.T, all []sent) {
		t.Helper()
		found := named(all, name)
		if len(found) == 0 {
			t.Fatalf("series %s has not come", name)
		}
		for _, s := range found {
			check(t, s)
		}
	}
}

// wantCompatible runs the suite's cases for 1.0 on what an agent sent by it.
func wantCompatible(t *testing.T, v1 *recorder) {
	t.Helper()
	all := v1.sent()
	header := func(name, want string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			for _, in := range v1.all() {
				if got := in.header.Get(name); got != want {
					t.Fatalf("%s is %q, want %q", name, got, want)
				}
			}
		}
	}
	t.Run("rw1_version_header", header("X-Prometheus-Remote-Write-Version", "0.1.0"))
	t.Run("rw1_content_type", header("Content-Type", "application/x-protobuf"))
	t.Run("rw1_samples_encoding", func(t *testing.T) {
		wantValues(t, ofJob(named(all, "test_metric"), "SampleEncoding/float_value_encoding"), 123.45)
	})
	t.Run("rw1_labels_encoding", func(t *testing.T) {
		wantValues(t, having(all, "job", "LabelValidation/label_names_not_empty", "label", "value"), 42)
		for _, s := range all {
			if !strings.HasPrefix(s.names[0], "_") || s.labels["clustername"] != cluster {
				t.Fatalf("the labels are %v", s.labels)
			}
		}
	})
	t.Run("rw1_no_native_histograms", func(t *testing.T) {
		for _, s := range all {
			if len(s.histograms) > 0 {
				t.Fatalf("%v came as a native histogram, and send_native_histograms is not set", s.labels)
			}
		}
	})
	// The message of 1.0 has no place for a start, nor for symbols: that it can be read shows it.
	t.Run("rw1_no_start_timestamp", func(t *testing.T) { wantWellFormed(t, v1) })
	t.Run("rw1_symbol_table_not_used", func(t *testing.T) { wantWellFormed(t, v1) })
	t.Run("rw1_metadata_handling", func(t *testing.T) {
		for _, in := range v1.all() {
			if in.about["http_requests_total"] == "Total HTTP requests" {
				return
			}
		}
		t.Error("the metadata did not come")
	})
	t.Run("Configuration", header("Content-Encoding", "snappy"))
}
