// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/packed"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// sink remembers what was committed.
type sink struct {
	pending, committed []labels.Labels
	refs               []storage.SeriesRef // as given
}

func (s *sink) AppenderV2(context.Context) storage.AppenderV2 { return s }

func (s *sink) Append(ref storage.SeriesRef, ls labels.Labels, _, _ int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	s.pending = append(s.pending, ls)
	s.refs = append(s.refs, ref)
	return storage.SeriesRef(len(s.pending)), nil
}

func (s *sink) Commit() error {
	s.committed = append(s.committed, s.pending...)
	s.pending = nil
	return nil
}

func (s *sink) Rollback() error {
	s.pending = nil
	return nil
}

// guardOf returns a guard whose config has the mandatory labels clustername and
// environment.
func guardOf(s *sink, reg prometheus.Registerer, trusted ...string) *guard {
	g := newGuard(s, nil, reg)
	g.apply(&config.Config{
		Prometheus: &promconfig.Config{ScrapeConfigs: []*promconfig.ScrapeConfig{{JobName: "app"}, {JobName: "federate"}}},
		Agent:      config.Agent{RequiredLabels: []string{"clustername", "environment"}, TrustedLabelJobs: trusted},
	})
	return g
}

func contextOf(job string) context.Context {
	return scrape.ContextWithTarget(context.Background(),
		scrape.NewTarget(labels.FromStrings(jobMark, job, "job", "federate"), &promconfig.ScrapeConfig{}, nil, nil))
}

func TestGuard(t *testing.T) {
	for _, tc := range []struct {
		name, job string
		in, want  labels.Labels
		conflicts string
	}{
		{
			name: "a series without mandatory labels is left alone", job: "app",
			in:   labels.FromStrings("__name__", "up", "exported_environment", "dev"),
			want: labels.FromStrings("__name__", "up", "exported_environment", "dev"),
		},
		{
			name: "the loser is kept as exported", job: "app",
			in:        labels.FromStrings("__name__", "app", "environment", "dev", "zone", "1"),
			want:      labels.FromStrings("__name__", "app", "exported_environment", "dev", "zone", "1"),
			conflicts: `{job="app",label="environment"} 1`,
		},
		{
			name: "so is an existing exported one", job: "app",
			in:        labels.FromStrings("__name__", "app", "environment", "dev", "exported_environment", "old"),
			want:      labels.FromStrings("__name__", "app", "exported_environment", "old", "exported_exported_environment", "dev"),
			conflicts: `{job="app",label="environment"} 1`,
		},
		{
			name: "both labels", job: "app",
			in:        labels.FromStrings("__name__", "app", "clustername", "a", "environment", "b"),
			want:      labels.FromStrings("__name__", "app", "exported_clustername", "a", "exported_environment", "b"),
			conflicts: `{job="app",label="clustername"} 1` + "\n" + `torchbearer_label_conflicts_total{job="app",label="environment"} 1`,
		},
		{
			name: "a trusted job keeps its own", job: "federate",
			in:   labels.FromStrings("__name__", "app", "environment", "dev"),
			want: labels.FromStrings("__name__", "app", "environment", "dev"),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, reg := &sink{}, prometheus.NewRegistry()
			// The label job of the target says "federate": it must not count.
			app := guardOf(s, reg, "federate").AppenderV2(contextOf(tc.job))
			if _, err := app.Append(0, tc.in, 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := app.Commit(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.want.String()}, texts(s.committed)); diff != "" {
				t.Errorf("logged series (-want +got):\n%s", diff)
			}
			want := ""
			if tc.conflicts != "" {
				want = "# HELP torchbearer_label_conflicts_total Samples of series that came with a mandatory label of their own, which was kept as exported_<label>, by job and label.\n" +
					"# TYPE torchbearer_label_conflicts_total counter\ntorchbearer_label_conflicts_total" + tc.conflicts + "\n"
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "torchbearer_label_conflicts_total"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A scrape cache keeps the ref of the series that the rules of an earlier config
// made of its labels.
func TestGuardLetsLabelsDecideNotRefsOfOtherRules(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry(), "federate")
	for _, job := range []string{"app", "federate"} {
		app := g.AppenderV2(contextOf(job))
		for _, ls := range []labels.Labels{labels.FromStrings("__name__", "app", "environment", "dev"), labels.FromStrings("__name__", "app")} {
			if _, err := app.Append(7, ls, 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]storage.SeriesRef{0, 0, 0, 0}, s.refs); diff != "" {
		t.Errorf("refs given to the log (-want +got):\n%s", diff)
	}
}

// A ref without a stamp may be of the series that other rules have made of the labels: of one that was renamed while its label
// was mandatory.
func TestGuardForgetsRefsOfRenamedSeries(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry())
	ls := labels.FromStrings("__name__", "app", "environment", "dev")
	give := func(ref storage.SeriesRef) storage.SeriesRef {
		t.Helper()
		got, err := g.AppenderV2(contextOf("app")).Append(ref, ls, 0, 1, 1, nil, nil, storage.AOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	renamed := give(0)
	g.apply(&config.Config{Prometheus: &promconfig.Config{}, Agent: config.Agent{RequiredLabels: []string{"clustername"}}})
	own := give(renamed)
	if got := s.pending[1]; !labels.Equal(got, ls) || s.refs[1] != 0 {
		t.Errorf("by rules that leave it alone %s is logged by ref %d as %s", ls, s.refs[1], got)
	}
	if give(own); s.refs[2] != own&scrape.RefMask {
		t.Errorf("after that by ref %d, want %d", s.refs[2], own&scrape.RefMask)
	}
}

// What was found in order is not looked at again while the rules are the same, and
// its ref is given to the log as the log gave it.
func TestGuardLooksAtLabelsOnce(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry())
	clean := labels.FromStrings("__name__", "app", "zone", "1")
	spoofed := labels.FromStrings("__name__", "app", "zone", "1", "environment", "dev")
	give := func(ref storage.SeriesRef, ls labels.Labels) storage.SeriesRef {
		t.Helper()
		got, err := g.AppenderV2(contextOf("app")).Append(ref, ls, 0, 1, 1, nil, nil, storage.AOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	stamped := give(0, clean)
	if stamped&scrape.RefMask != 1 || stamped == 1 {
		t.Fatalf("the ref of labels in order is %x", uint64(stamped))
	}
	for range 3 {
		if got := give(0, spoofed); got&^scrape.RefMask != 0 {
			t.Errorf("the ref of labels that were renamed is %x", uint64(got))
		}
	}
	if got := give(stamped, clean); got&^scrape.RefMask != stamped&^scrape.RefMask {
		t.Errorf("looked at again: %x, then %x", uint64(stamped), uint64(got))
	}
	if diff := cmp.Diff([]storage.SeriesRef{0, 0, 0, 0, 1}, s.refs); diff != "" {
		t.Errorf("refs given to the log (-want +got):\n%s", diff)
	}

	// By other rules it is looked at again.
	g.apply(&config.Config{
		Prometheus: &promconfig.Config{ScrapeConfigs: []*promconfig.ScrapeConfig{{JobName: "app"}}},
		Agent:      config.Agent{RequiredLabels: []string{"zone"}},
	})
	s.pending, s.refs = nil, nil
	if got := give(stamped, clean); got&^scrape.RefMask != 0 || !s.pending[0].Has("exported_zone") || s.refs[0] != 0 {
		t.Errorf("by new rules: %s by ref %d gave %x", s.pending[0], s.refs[0], uint64(got))
	}
	// Nor does one vouch for what is scraped without a target.
	if got, _ := g.AppenderV2(context.Background()).Append(stamped, clean, 0, 1, 1, nil, nil, storage.AOptions{}); got&^scrape.RefMask != 0 {
		t.Errorf("without a target: %x", uint64(got))
	}
}

// keepingSink keeps the labels of series, as the log does.
type keepingSink struct{ sink }

func (s *keepingSink) AppenderV2(context.Context) storage.AppenderV2 { return s }

func (s *keepingSink) LabelsOf(ref storage.SeriesRef) packed.Labels {
	if n := int(ref); n > 0 && n <= len(s.pending) {
		return packed.Of(s.pending[n-1])
	}
	return packed.Labels{}
}

// Without labels comes only what need not be looked at; for the labels of anything
// else is asked.
func TestGuardAsksForLabels(t *testing.T) {
	s := &keepingSink{}
	g := guardOf(&s.sink, prometheus.NewRegistry(), "federate")
	g.next = s
	clean := labels.FromStrings("__name__", "app", "zone", "1")
	for _, tc := range []struct {
		name, job string
		ls        labels.Labels
		kept      bool
	}{
		{"in order", "app", clean, true},
		{"renamed", "app", labels.FromStrings("__name__", "app", "environment", "dev"), false},
		{"of a trusted job", "federate", labels.FromStrings("__name__", "app", "environment", "dev"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			app := g.AppenderV2(contextOf(tc.job)).(*guardedAppender)
			ref, err := app.Append(0, tc.ls, 0, 1, 1, nil, nil, storage.AOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if kept := app.LabelsOf(ref); kept.Are(tc.ls) != tc.kept || kept.IsEmpty() == tc.kept {
				t.Errorf("the labels of %x are %s", uint64(ref), kept)
			}
			before := len(s.refs)
			_, err = app.Append(ref, labels.EmptyLabels(), 0, 2, 1, nil, nil, storage.AOptions{})
			if errors.Is(err, packed.ErrNeeded) == tc.kept || len(s.refs)-before != map[bool]int{true: 1}[tc.kept] {
				t.Errorf("without labels: %v, and the log was given %v", err, s.refs[before:])
			}
			// By other rules anything is looked at again.
			g.apply(&config.Config{Prometheus: &promconfig.Config{}, Agent: config.Agent{RequiredLabels: []string{"zone"}, TrustedLabelJobs: []string{"federate"}}})
			if _, err = g.AppenderV2(contextOf(tc.job)).Append(ref, labels.EmptyLabels(), 0, 3, 1, nil, nil, storage.AOptions{}); !errors.Is(err, packed.ErrNeeded) {
				t.Errorf("by other rules: %v", err)
			}
			g.apply(&config.Config{Prometheus: &promconfig.Config{}, Agent: config.Agent{RequiredLabels: []string{"clustername", "environment"}, TrustedLabelJobs: []string{"federate"}}})
		})
	}
}

// A series that a target exposes as one of the agent's own never gets a ref that
// keeps it from being looked at.
func TestGuardAlwaysLooksAtPosingSeries(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry())
	up := labels.FromStrings("__name__", "up", "job", "federate")
	for range 3 {
		if got, err := g.AppenderV2(contextOf("app")).Append(0, up, 0, 1, 1, nil, nil, storage.AOptions{}); got != 0 || err != nil {
			t.Errorf("got %x and %v", uint64(got), err)
		}
	}
	if len(s.pending) > 0 {
		t.Errorf("logged: %v", s.pending)
	}
}

func TestGuardWithoutTargetTrustsNobody(t *testing.T) {
	s := &sink{}
	app := guardOf(s, prometheus.NewRegistry(), "federate").AppenderV2(context.Background())
	if _, err := app.Append(0, labels.FromStrings("__name__", "app", "environment", "dev"), 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.pending[0].Has("environment") {
		t.Errorf("got %s, want environment renamed", s.pending[0])
	}
}

func TestGuardForgetsConflictsOfJobsThatAreGone(t *testing.T) {
	s, reg := &sink{}, prometheus.NewRegistry()
	g := guardOf(s, reg)
	app := g.AppenderV2(contextOf("app"))
	if _, err := app.Append(0, labels.FromStrings("__name__", "app", "environment", "dev"), 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Rollback(); err != nil { // An attempt all the same.
		t.Fatal(err)
	}
	if got := testutil.CollectAndCount(g.conflicts); got != 1 {
		t.Fatalf("got %d counters, want 1", got)
	}
	g.apply(&config.Config{Prometheus: &promconfig.Config{}})
	if got := testutil.CollectAndCount(g.conflicts); got != 0 {
		t.Errorf("got %d counters after the job went, want 0", got)
	}
}

func TestGuardShutWritesNothing(t *testing.T) {
	s := &sink{}
	g := guardOf(s, prometheus.NewRegistry())
	app := g.AppenderV2(contextOf("app"))
	if _, err := app.Append(0, labels.FromStrings("__name__", "up"), 0, 1, 0, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	g.shut()
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if len(s.committed) != 0 || len(s.pending) != 0 {
		t.Errorf("got %v committed and %v pending, want nothing", s.committed, s.pending)
	}
}

// FuzzGuard feeds a series of arbitrary labels and wants it to come out
// without a mandatory name, with all its values, and with unique, sorted names.
func FuzzGuard(f *testing.F) {
	f.Add("clustername", "a", "environment", "b", "exported_environment", "c")
	f.Add("exported_exported_environment", "a", "exported_environment", "b", "environment", "c")
	f.Add("x", "environment", "clustername", "x", "exported_clustername", "x")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		b := labels.NewBuilder(labels.FromStrings("__name__", "app"))
		for _, l := range [][2]string{{n1, v1}, {n2, v2}, {n3, v3}} {
			if l[0] != "" && l[0] != "__name__" {
				b.Set(l[0], l[1])
			}
		}
		in := b.Labels()
		s := &sink{}
		app := guardOf(s, prometheus.NewRegistry()).AppenderV2(contextOf("app"))
		if _, err := app.Append(0, in, 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
		got := s.pending[0]
		if got.Has("clustername") || got.Has("environment") {
			t.Fatalf("%s came out as %s", in, got)
		}
		if name, dup := got.HasDuplicateLabelNames(); dup {
			t.Fatalf("%s came out as %s with %s twice", in, got, name)
		}
		if diff := cmp.Diff(values(in), values(got)); diff != "" {
			t.Fatalf("values of %s (-want +got):\n%s", in, diff)
		}
		sorted := true
		last := ""
		got.Range(func(l labels.Label) { sorted, last = sorted && last < l.Name, l.Name })
		if !sorted {
			t.Fatalf("%s came out unsorted: %s", in, got)
		}
	})
}

func values(ls labels.Labels) []string {
	var all []string
	ls.Range(func(l labels.Label) { all = append(all, l.Value) })
	slices.Sort(all)
	return all
}

func texts(series []labels.Labels) []string {
	var all []string
	for _, ls := range series {
		all = append(all, ls.String())
	}
	return all
}

// What the guard costs on the way to the log, for a series that brings no
// mandatory label and for one that does.
//
// Command: go test ./agent/scraper -run ^$ -bench Guard -benchmem -count 6.
func BenchmarkGuard(b *testing.B) {
	for _, spoofed := range []bool{false, true} {
		b.Run(fmt.Sprintf("spoofed=%t", spoofed), func(b *testing.B) {
			lb := labels.NewBuilder(labels.FromStrings("__name__", "http_requests_total", "code", "200", "handler", "/api/v1/query",
				"instance", "10.0.0.1:9090", "job", "app", "namespace", "default", "pod", "app-7d9c5b9c8f-abcde"))
			if spoofed {
				lb.Set("environment", "dev")
			}
			ls := lb.Labels()
			app := guardOf(&sink{}, prometheus.NewRegistry()).AppenderV2(contextOf("app"))
			app.(*guardedAppender).AppenderV2 = discard{}
			ref := storage.SeriesRef(1)
			b.ReportAllocs()
			for b.Loop() {
				ref, _ = app.Append(ref, ls, 0, 1, 1, nil, nil, storage.AOptions{})
			}
		})
	}
}

type discard struct{ storage.AppenderV2 }

func (discard) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	return ref, nil
}

func TestAJobOfAnotherAgentIsNotWritten(t *testing.T) {
	s, reg := &sink{}, prometheus.NewRegistry()
	allowed, within := false, 0
	g := newGuard(s, func(job string) (func(), bool) {
		if job != "app" {
			t.Errorf("asked for job %q", job)
		}
		if allowed {
			within++
		}
		return func() { within-- }, allowed
	}, reg)
	write := func() {
		app := g.AppenderV2(contextOf("app"))
		if _, err := app.Append(0, labels.FromStrings("__name__", "a"), 0, 1, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if len(s.committed)+len(s.pending) > 0 {
		t.Errorf("written: %v", s.committed)
	}
	if n := testutil.ToFloat64(g.discarded.WithLabelValues("lease")); n != 1 {
		t.Errorf("%v scrapes are counted as discarded, want 1", n)
	}
	allowed = true
	write()
	if len(s.committed) != 1 || within != 0 {
		t.Errorf("written: %v; not done: %d", s.committed, within)
	}
}
