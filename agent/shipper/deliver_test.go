// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// What was settled of a request that was replaced halfway is not sent again, nor
// counted twice.
func TestSettingsReplacedWhileARequestIsCut(t *testing.T) {
	t.Parallel()
	var set *settings
	in := newInbox(t, func(n int, got *letter) reply {
		if n == 5 {
			close(set.replaced)
		}
		if got.has(serial(0)) || got.has(serial(99)) {
			return reply{status: 400, body: "out of order"}
		}
		return reply{status: 204}
	})
	set = settingsFor(t, in.URL, false)
	s, registry := quick(t)
	points := makePoints(100, 2)
	if err := s.deliver(t.Context(), set, copied(points), &fates{}); !errors.Is(err, errReplaced) {
		t.Fatalf("got %v", err)
	}
	again := settingsFor(t, in.URL, false)
	close(again.replaced)
	if err := s.deliver(t.Context(), again, copied(points), &fates{}); !errors.Is(err, errReplaced) {
		t.Fatalf("replaced once more: %v", err)
	}
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), copied(points), &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 100, 2, serial(0), serial(99))
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfOrder); got != 4 {
		// Both destinations of the test have the URL and so the metric.
		t.Errorf("%v counted as refused", got)
	}
	if s.forget(); len(s.answered) != 0 {
		t.Errorf("%d points are still remembered", len(s.answered))
	}
}

// copied copies points, as the window gives them afresh each time.
func copied(points []point) []point { return append([]point(nil), points...) }

func TestNewSettingsAreUsedForTheNextAttempt(t *testing.T) {
	t.Parallel()
	in := newInbox(t, always(204))
	s, _ := quick(t)
	set := settingsFor(t, in.URL, true)
	set.encode.added = []addedLabel{{Label: labels.Label{Name: "n", Value: "all"}, force: true}}
	if err := s.deliver(t.Context(), set, makePoints(1, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(1, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	if !in.letter(0).v2 || in.letter(1).v2 {
		t.Error("the protocol is not that of the settings")
	}
	want := map[string][]int64{"all": {1}, serial(0): {1}}
	if diff := cmp.Diff(want, in.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// inMemory is a way to a receiver that has no network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func TestSamplesOverTheAgeLimitAreDroppedBeforeEachAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UnixMilli()
		in := &inbox{t: t, held: map[string][]int64{}, reply: func(n int, _ *letter) reply {
			if n == 0 {
				time.Sleep(150 * time.Millisecond)
				return reply{status: 503}
			}
			return reply{status: 204}
		}}
		points := makePoints(3, 1)
		points[0].t, points[1].t, points[2].t = now-time.Hour.Milliseconds(), now-59_900, now
		s, registry := quick(t)
		set := settingsFor(t, "http://receiver.invalid/", false)
		set.client.http.Transport = inMemory{in}
		set.sampleAgeLimit = time.Minute
		if err := s.deliver(t.Context(), set, points, &fates{}); err != nil {
			t.Fatal(err)
		}
		if first, second := in.letter(0).count, in.letter(1).count; first != 2 || second != 1 {
			t.Errorf("%d and %d samples were sent, want 2 and 1", first, second)
		}
		if got := value(t, registry, "prometheus_remote_storage_samples_dropped_total", "reason", "too_old"); got != 2 {
			t.Errorf("%v counted as dropped", got)
		}
		old := makePoints(3, 1)
		if err := s.deliver(t.Context(), set, old, &fates{}); err != nil || in.requests() != 2 {
			t.Errorf("only old samples: %v, %d requests", err, in.requests())
		}
	})
}

func TestFallingBackToRemoteWriteOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		two      reply
		requests int
	}{
		"415":                                   {reply{status: 415}, 3},
		"a success that does not say how much":  {reply{status: 204, header: map[string]string{}}, 3},
		"400 of a receiver that cannot read it": {reply{status: 400, body: "unknown wire type"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in *inbox
			in = newInbox(t, func(_ int, got *letter) reply {
				if got.v2 {
					in.mu.Lock()
					clear(got.samples) // What it cannot read it does not store.
					in.mu.Unlock()
					got.series = nil
					return c.two
				}
				return reply{status: 200}
			})
			s, _ := quick(t)
			set := settingsFor(t, in.URL, true)
			for range 2 {
				if err := s.deliver(t.Context(), set, makePoints(4, 1), &fates{}); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string][]int64{serial(0): {1, 1}, serial(1): {1, 1}, serial(2): {1, 1}, serial(3): {1, 1}}
			if diff := cmp.Diff(want, in.stored()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if in.requests() != c.requests {
				t.Errorf("%d requests, want %d", in.requests(), c.requests)
			}
			// Other settings: 2.0 is tried again.
			if err := s.deliver(t.Context(), settingsFor(t, in.URL, true), makePoints(4, 1), &fates{}); err != nil {
				t.Fatal(err)
			}
			if !in.letter(c.requests).v2 {
				t.Error("new settings do not try 2.0 again")
			}
		})
	}
}

// A success without the headers of 2.0 from a place where a receiver of 2.0 was
// is not that receiver's.
func TestSuccessOfSomethingElseIsNotBelieved(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(n int, _ *letter) reply {
		if n == 1 || n == 2 {
			return reply{status: 200, header: map[string]string{}, body: "default backend"}
		}
		return reply{status: 204}
	})
	s, _ := quick(t)
	set := settingsFor(t, in.URL, true)
	for range 2 {
		if err := s.deliver(t.Context(), set, makePoints(4, 1), &fates{}); err != nil {
			t.Fatal(err)
		}
	}
	if in.requests() != 4 || !in.letter(3).v2 {
		t.Errorf("%d requests, the last one 2.0: %v", in.requests(), in.letter(3).v2)
	}
}

func TestSuccessThatHasNotStoredAll(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(int, *letter) reply {
		return reply{status: 204, header: map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "3"}}
	})
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, true), makePoints(10, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	if in.requests() != 1 {
		t.Errorf("%d requests", in.requests())
	}
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOther); got != 7 {
		t.Errorf("%v counted as refused", got)
	}
}

func TestAttemptsAreCountedByKind(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(n int, _ *letter) reply {
		if n == 0 {
			return reply{status: 500}
		}
		return reply{status: 200}
	})
	points := makePoints(3, 1)
	points[1].other = &other{histogram: tsdbutil.GenerateTestHistogram(1)}
	points[2].other = &other{floatHistogram: tsdbutil.GenerateTestFloatHistogram(1)}
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), points, &fates{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"samples_total": 2, "histograms_total": 4, "samples_retried_total": 1, "histograms_retried_total": 2,
		"samples_failed_total": 0, "bytes_total": float64(in.letter(0).bytes + in.letter(1).bytes),
	} {
		if got := value(t, registry, "prometheus_remote_storage_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	s.vec.forget("test", in.URL)
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after forget there are %d families: %v", len(families), err)
	}
}

func TestConcurrentDeliveries(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(n int, got *letter) reply {
		switch {
		case n%7 == 3:
			return reply{status: 503}
		case got.has(serial(9)):
			return reply{status: 422, body: "not valid"}
		}
		return reply{status: 204}
	})
	s, _ := quick(t)
	set := settingsFor(t, in.URL, true)
	points := makePoints(800, 1)
	var all sync.WaitGroup
	for shard := range 8 {
		all.Go(func() {
			if err := s.deliver(t.Context(), set, points[shard*100:(shard+1)*100:(shard+1)*100], &fates{}); err != nil {
				t.Error(err)
			}
			s.state.snapshot()
			s.refused.snapshot()
		})
	}
	all.Wait()
	wantStored(t, in, 800, 1, serial(9))
}
