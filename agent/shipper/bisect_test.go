// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

// wantStored checks that all but the poisoned series are held, each sample once
// and in order.
func wantStored(t *testing.T, in *inbox, n, per int, poison ...string) {
	t.Helper()
	want := map[string][]int64{}
	for i := range n {
		if slices.Contains(poison, serial(i)) {
			continue
		}
		for at := range per {
			want[serial(i)] = append(want[serial(i)], int64(at+1))
		}
	}
	if diff := cmp.Diff(want, in.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestOnePoisonedSeriesAmongTwoThousand(t *testing.T) {
	t.Parallel()
	short := 0
	positions := []int{0, 1, 2, 777, 998, 999, 1000, 1001, 1998, 1999}
	for _, at := range positions {
		in := newInbox(t, refusing("out of order sample", serial(at)))
		s, registry := quick(t)
		if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(2000, 1), &fates{}); err != nil {
			t.Fatal(err)
		}
		wantStored(t, in, 2000, 1, serial(at))
		if extra := in.requests() - 1; extra > 12 {
			t.Errorf("poison at %d: %d extra requests", at, extra)
		} else if extra <= 11 {
			short++
		}
		if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfOrder); got != 1 {
			t.Errorf("poison at %d: %v counted as refused", at, got)
		}
		if got := value(t, registry, "prometheus_remote_storage_samples_failed_total"); got != 1 {
			t.Errorf("poison at %d: %v counted as failed", at, got)
		}
		entries := s.refused.snapshot()
		if len(entries) != 1 || entries[0].Words != "out of order sample" || entries[0].Status != 400 ||
			entries[0].Series != `{__name__="m", n="`+serial(at)+`", pod="a-pod-with-a-name", zone="a"}` {
			t.Errorf("poison at %d: the log of refusals has %+v", at, entries)
		}
	}
	if short < len(positions)/3 {
		t.Errorf("only %d of %d positions need 11 extra requests", short, len(positions))
	}
}

func TestSeveralPoisonedSeries(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(4, 2))
	for _, c := range []struct{ n, per, bad, atMost int }{
		{n: 2000, per: 1, bad: 2, atMost: 28},
		{n: 2000, per: 1, bad: 3, atMost: 60},
		{n: 500, per: 3, bad: 7, atMost: 150},
		{n: 64, per: 1, bad: 32, atMost: 128},
		{n: 3, per: 2, bad: 2, atMost: 10},
		{n: 2, per: 1, bad: 1, atMost: 3},
	} {
		for range 3 {
			var poison []string
			for _, i := range random.Perm(c.n)[:c.bad] {
				poison = append(poison, serial(i))
			}
			in := newInbox(t, refusing("invalid labels", poison...))
			s, registry := quick(t)
			if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(c.n, c.per), &fates{}); err != nil {
				t.Fatal(err)
			}
			wantStored(t, in, c.n, c.per, poison...)
			if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedInvalid); int(got) != c.bad*c.per {
				t.Errorf("%+v %v: %v counted as refused", c, poison, got)
			}
			if in.requests() > c.atMost {
				t.Errorf("%+v %v: %d requests", c, poison, in.requests())
			}
		}
	}
}

func TestAllRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 5, 8, 100, 1000} {
		in := newInbox(t, func(int, *letter) reply { return reply{status: 422, body: "no"} })
		s, registry := quick(t)
		if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(n, 1), &fates{}); err != nil {
			t.Fatal(err)
		}
		if in.requests() > 2*n {
			t.Errorf("%d requests for %d series", in.requests(), n)
		}
		if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOther); int(got) != n {
			t.Errorf("%v of %d counted as refused", got, n)
		}
	}
}

func TestOnePoisonedSampleOfASeries(t *testing.T) {
	t.Parallel()
	for bad := int64(1); bad <= 9; bad++ {
		in := newInbox(t, func(_ int, got *letter) reply {
			if slices.Contains(got.samples[serial(3)], bad) {
				return reply{status: 409, body: "conflict"}
			}
			return reply{status: 200}
		})
		s, _ := quick(t)
		if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(20, 9), &fates{}); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			var want []int64
			for at := int64(1); at <= 9; at++ {
				if i != 3 || at != bad {
					want = append(want, at)
				}
			}
			if diff := cmp.Diff(want, in.stored()[serial(i)]); diff != "" {
				t.Errorf("sample %d bad, series %d (-want +got):\n%s", bad, i, diff)
			}
		}
	}
}

// The sender compliance suite of Remote Write 1.0 asks for it.
func TestWhatHeadedARefusedRequestIsNotSeenAgain(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5, 6, 7, 100} {
		in := newInbox(t, func(n int, _ *letter) reply {
			if n == 0 {
				return reply{status: http.StatusBadRequest, body: "bad request\n"}
			}
			return reply{status: http.StatusNoContent}
		})
		s, _ := quick(t)
		if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(n, 1), &fates{}); err != nil {
			t.Fatal(err)
		}
		wantStored(t, in, n, 1, serial(0))
	}
}

func TestTroubleWhileLookingForPoison(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(n int, got *letter) reply {
		switch {
		case n%3 == 1:
			return reply{status: 503}
		case n%5 == 2:
			return reply{status: 404}
		case len(got.series) > 400:
			return reply{status: 413}
		case got.has(serial(5)) || got.has(serial(900)):
			return reply{status: 400, body: "out of bounds"}
		}
		return reply{status: 200}
	})
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), makePoints(1000, 2), &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 1000, 2, serial(5), serial(900))
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfBounds); got != 4 {
		t.Errorf("%v counted as refused", got)
	}
}

func TestTooLargeIsHalved(t *testing.T) {
	t.Parallel()
	const limit = 4000
	in := newInbox(t, func(_ int, got *letter) reply {
		if got.bytes > limit {
			return reply{status: 413}
		}
		return reply{status: 200}
	})
	points := makePoints(2000, 1)
	long := make([]byte, 3*limit)
	for i := range long {
		long[i] = byte('!' + rand.N(90))
	}
	points[7].series.logged = packed.Of(labels.FromStrings("__name__", "m", "long", string(long), "n", serial(7)))
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), points, &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 2000, 1, serial(7))
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedTooLarge); got != 1 {
		t.Errorf("%v counted as too large", got)
	}
	entries := s.refused.snapshot()
	if len(entries) != 1 || len(entries[0].Series) > maxSeriesWords {
		t.Errorf("the log of refusals has %d entries, the series of %d bytes", len(entries), len(entries[0].Series))
	}
}

// A receiver of 2.0 stores what it can and says how much that was.
func TestRefusedInPart(t *testing.T) {
	t.Parallel()
	in := newInbox(t, func(_ int, got *letter) reply {
		good := slices.DeleteFunc(slices.Clone(got.series), func(s string) bool { return s == serial(4) || s == serial(6) })
		if len(good) == len(got.series) {
			return reply{status: 204}
		}
		return reply{
			status: 400, body: "out of order sample for series {n=\"0004\"}", stores: good,
			header: map[string]string{"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(2 * len(good))},
		}
	})
	s, registry := quick(t)
	set := settingsFor(t, in.URL, true)
	if err := s.deliver(t.Context(), set, makePoints(100, 2), &fates{}); err != nil {
		t.Fatal(err)
	}
	if in.requests() != 1 {
		t.Errorf("%d requests", in.requests())
	}
	wantStored(t, in, 100, 2, serial(4), serial(6))
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfOrder); got != 4 {
		t.Errorf("%v counted as refused", got)
	}
	if got := value(t, registry, "prometheus_remote_storage_samples_failed_total"); got != 4 {
		t.Errorf("%v counted as failed", got)
	}

	// It is known now to store parts: nothing stored is nothing to look for.
	points := makePoints(7, 2)[8:10]
	if err := s.deliver(t.Context(), set, append(points, makePoints(7, 2)[12:]...), &fates{}); err != nil {
		t.Fatal(err)
	}
	if in.requests() != 2 {
		t.Errorf("%d requests after a request of only refused series", in.requests())
	}
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfOrder); got != 8 {
		t.Errorf("%v counted as refused", got)
	}
}

// A receiver of 2.0 that stores a request whole or not at all says 0.
func TestRefusedWholeByAReceiverOfTwo(t *testing.T) {
	t.Parallel()
	none := map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "0"}
	in := newInbox(t, func(_ int, got *letter) reply {
		if got.has(serial(30)) {
			return reply{status: 400, body: "too old sample", header: none}
		}
		return reply{status: 204}
	})
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, true), makePoints(500, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 500, 1, serial(30))
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedTooOld); got != 1 {
		t.Errorf("%v counted as refused", got)
	}

	// Where all is refused it is believed soon.
	all := newInbox(t, func(int, *letter) reply { return reply{status: 400, body: "duplicate sample", header: none} })
	if err := s.deliver(t.Context(), settingsFor(t, all.URL, true), makePoints(2000, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	if most := 3 * bits.Len(2000); all.requests() > most {
		t.Errorf("%d requests, want at most %d", all.requests(), most)
	}
	if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedDuplicate, "url", all.URL); got != 2000 {
		t.Errorf("%v counted as refused", got)
	}
}

func TestExemplarsAreGivenUpBeforeTheirSample(t *testing.T) {
	t.Parallel()
	points := makePoints(10, 1)
	with := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "x"), Value: 1, Ts: 1, HasTs: true}
	points = slices.Insert(points, 5, point{series: points[4].series, t: 1, other: &other{exemplar: &with}})
	in := newInbox(t, func(_ int, got *letter) reply {
		if got.has(serial(4)) && len(got.series) > 1 || len(got.series) == 1 && got.bytes > 100 {
			return reply{status: 400, body: "invalid exemplar"}
		}
		return reply{status: 200}
	})
	s, registry := quick(t)
	if err := s.deliver(t.Context(), settingsFor(t, in.URL, false), points, &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 10, 1)
	if got := value(t, registry, "prometheus_remote_storage_exemplars_failed_total"); got != 1 {
		t.Errorf("%v exemplars counted as failed", got)
	}
}

// A burst of requests must not follow when nothing says that series are meant:
// the sender compliance suite of 2.0 allows two.
func TestABareRefusalOfATinyRequestIsNotFollowedByABurst(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge} {
		in := newInbox(t, func(int, *letter) reply { return reply{status: status, body: http.StatusText(status)} })
		s, _ := quick(t)
		s.park, s.polite = time.Hour, time.Hour
		set := settingsFor(t, in.URL, true)
		done := make(chan error, 1)
		go func() { done <- s.deliver(t.Context(), set, makePoints(6, 1), &fates{}) }()
		eventually(t, func() bool { return in.requests() > 0 })
		select {
		case <-done:
			t.Errorf("%d: the request was given up", status)
		case <-time.After(150 * time.Millisecond):
		}
		if in.requests() > 2 {
			t.Errorf("%d: %d requests", status, in.requests())
		}
		close(set.replaced)
		if err := <-done; !errors.Is(err, errReplaced) {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	e := &other{exemplar: &exemplar.Exemplar{}}
	a, b := &series{}, &series{}
	for _, c := range []struct {
		points   []point
		first    int
		ofSeries bool
	}{
		{[]point{{series: a}}, 1, true},
		{[]point{{series: a}, {series: a, other: e}}, 2, true},
		{[]point{{series: a}, {series: a, other: e}, {series: a}}, 2, true},
		{[]point{{series: a}, {series: a}, {series: a}}, 1, true},
		{[]point{{series: a}, {series: a}, {series: a}, {series: b}}, 3, false},
		{[]point{{series: a}, {series: b, other: e}, {series: b}, {series: b}}, 1, false},
	} {
		first, second, ofSeries := split(c.points)
		if len(first) != c.first || len(first)+len(second) != len(c.points) || ofSeries != c.ofSeries {
			t.Errorf("%v: got %d and %d, of one series %v", c.points, len(first), len(second), ofSeries)
		}
	}
}
