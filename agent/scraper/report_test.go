// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

func TestATargetDoesNotSayItselfWhetherItIsUp(t *testing.T) {
	s, reg := &sink{}, prometheus.NewRegistry()
	g := guardOf(s, reg)
	app := g.AppenderV2(contextOf("app")) // Its target has only the label job.
	for _, tc := range []struct {
		family string
		series labels.Labels
	}{
		{"up", labels.FromStrings("__name__", "up", "job", "federate")},
		{"", labels.FromStrings("__name__", "scrape_duration_seconds", "job", "federate")},
		// These are series of their own.
		{"up", labels.FromStrings("__name__", "up", "job", "federate", "instance", "other")},
		{"up", labels.FromStrings("__name__", "up", "job", "other")},
		{"upper", labels.FromStrings("__name__", "upper", "job", "federate")},
		// The scrape's own.
		{"up\xff", labels.FromStrings("__name__", "up", "job", "federate")},
	} {
		if _, err := app.Append(0, tc.series, 0, 1, 1, nil, nil, storage.AOptions{MetricFamilyName: tc.family}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{__name__="up", instance="other", job="federate"}`, `{__name__="up", job="other"}`,
		`{__name__="upper", job="federate"}`, `{__name__="up", job="federate"}`,
	}
	if diff := cmp.Diff(want, texts(s.committed)); diff != "" {
		t.Errorf("logged series (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(g.posing.WithLabelValues("app")); n != 2 {
		t.Errorf("%v counted, want 2", n)
	}
}
