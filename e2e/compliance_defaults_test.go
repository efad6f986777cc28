// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestComplianceDefaults: with default queues, a first request of few samples is laid out as the public suites take for granted
// because Prometheus does so: in the order of the scrapes, each sample in a TimeSeries of its own.
func TestComplianceDefaults(t *testing.T) {
	t.Parallel()
	f := func(name, text string, check func(v2, v1 *recorded) error) {
		one := func(t *testing.T) error {
			t.Helper()
			v2, v1 := startRecorder(t, nil), startRecorder(t, nil)
			a := startAgent(t, global(time.Second)+destinations(
				remoteWrite(v2.url, messageV2, "name: v2"), remoteWrite(v1.url, messageV1, "name: v1"),
			)+jobs(job("test", []string{startTarget(t, exposes(plain, text))})))
			for _, r := range []*recorder{v2, v1} {
				a.until(t, 60*time.Second, "samples come", func(context.Context) error {
					return atLeast("series", len(r.sent()), 1)
				})
			}
			interrupt(t, a)
			wantWellFormed(t, v2)
			wantWellFormed(t, v1)
			for _, s := range append(v2.sent(), v1.sent()...) { // 1.0 has requests of metadata only, too.
				wantSound(t, s.in.series)
				wantOrdered(t, s.in)
			}
			return check(v2.sent()[0].in, v1.sent()[0].in)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A busy machine may leave out scrapes before the first request.
			inThree(t, func() error { return one(t) })
		})
	}
	few := "http_requests_total{method=\"GET\",status=\"200\",handler=\"/api/v1\"} 100\n" +
		"http_requests_total{method=\"POST\",status=\"200\",handler=\"/api/v1\"} 50\n" +
		"http_requests_total{method=\"GET\",status=\"404\",handler=\"/api/v1\"} 10\n" +
		"http_requests_total{method=\"GET\",status=\"200\",handler=\"/api/v2\"} 75\n"
	f("SymbolTableEfficiency", few, func(v2, _ *recorded) error {
		if n := len(v2.symbols) - 1; n > 30 {
			return fmt.Errorf("%d symbols besides the empty one, want 30 at most: %q", n, v2.symbols)
		}
		return nil
	})
	// The suites' own texts for many series cannot be parsed: what they count is the samples of failed scrapes.
	f("many_timeseries", "metric_0: :\n", func(v2, v1 *recorded) error {
		return errors.Join(atLeast("TimeSeries in the first request", len(v2.series), 20),
			atLeast("TimeSeries in the first request of 1.0", len(v1.series), 20))
	})
}

// wantOrdered checks that each TimeSeries has one sample, and that they stand in the order of their times.
func wantOrdered(t *testing.T, in *recorded) {
	t.Helper()
	last := int64(0)
	for _, s := range in.series {
		if len(s.samples) != 1 {
			t.Fatalf("%v has %d samples, want 1", s.labels, len(s.samples))
		}
		if at := s.samples[0].Timestamp; at < last {
			t.Fatalf("%v at %d comes after %d", s.labels, at, last)
		}
		last = s.samples[0].Timestamp
	}
}
