// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

func TestLedger(t *testing.T) {
	of := func(phase string, points ...Point) Series {
		return Series{Labels: labels.FromStrings("__name__", "n", "instance", "i", "series", "0", "phase", phase), Points: points}
	}
	at := func(time int64, value float64) Point { return Point{Time: time, Value: value} }
	stale := at(30, math.Float64frombits(value.StaleNaN))

	f := func(name string, want Counts, numbers []float64, series ...Series) {
		t.Helper()
		l := NewLedger("phase")
		for _, s := range series {
			l.Add(s)
		}
		want.Points = l.Counts().Points
		want.Largest = l.Counts().Largest
		if diff := cmp.Diff(want, l.Counts()); diff != "" {
			t.Errorf("%s: counts differ (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(numbers, l.Numbers(Key("n", "i", "0", ""))); diff != "" {
			t.Errorf("%s: numbers differ (-want +got):\n%s", name, diff)
		}
		if strange := len(l.Strange()); (strange > 0) != (want.Twice+want.Disorder > 0) {
			t.Errorf("%s: %d strange points are told", name, strange)
		}
	}
	f("in order", Counts{Stale: 1}, []float64{1, 2, 3}, of("", at(10, 1), at(20, 2)), of("", stale, at(40, 3)))
	f("repeated", Counts{Repeats: 3, Stale: 1}, []float64{1, 2}, of("", at(10, 1), at(20, 2), stale), of("", at(10, 1), at(20, 2), stale))
	f("other labels that are ignored", Counts{Repeats: 1}, []float64{1, 2}, of("a", at(10, 1)), of("b", at(10, 1), at(20, 2)))
	f("late", Counts{Disorder: 1}, []float64{1, 2, 3}, of("", at(10, 1), at(30, 3)), of("", at(20, 2)))
	f("another value", Counts{Repeats: 1, Twice: 1}, []float64{1}, of("", at(10, 1)), of("", at(10, 2)))
	f("a number again", Counts{Twice: 1}, []float64{1, 1}, of("", at(10, 1)), of("", at(20, 1)))
}

// TestLedgerOfAReceiver: what is kept of each way to answer, and what the sender has to repeat.
func TestLedgerOfAReceiver(t *testing.T) {
	r, l := open(t), NewLedger()
	r.KeepIn(l)
	answers := []*Answer{
		{Reset: true}, {Keep: true, Reset: true}, {Keep: true, Status: http.StatusInternalServerError}, {Keep: true, Delay: time.Millisecond},
	}
	r.SetBehaviour(func(n int, _ *http.Request) *Answer { return answers[n-1] })
	for i, answer := range answers {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL(), bytes.NewReader(snappy.Encode(nil, v1(t, 10, 20))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Encoding", "snappy")
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if (err != nil) != answer.Reset {
			t.Errorf("answer %d ends with %v", i, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	if diff := cmp.Diff(Counts{Points: 6, Repeats: 4, Forced: 4, Largest: 2}, l.Counts()); diff != "" {
		t.Errorf("counts differ (-want +got):\n%s", diff)
	}
	if r.Total() != 0 {
		t.Error("what is in the ledger is also in the receiver")
	}

	r.SetBehaviour(nil)
	r.Refuse(func(s Series) bool { return s.Labels.Get("__name__") == "a" })
	if status, _ := send(t.Context(), t, r, ProtocolV1, v1(t, 1)); status != http.StatusBadRequest {
		t.Errorf("a refused series is answered %d", status)
	}
	if status, _ := send(t.Context(), t, r, ProtocolV2, v2(t)); status != http.StatusNoContent {
		t.Errorf("another series is answered %d", status)
	}
}

func TestLedgerOfUp(t *testing.T) {
	l := NewLedger()
	l.Add(Series{
		Labels: labels.FromStrings("__name__", "up", "instance", "i"),
		Points: []Point{{Time: 10, Value: 1}, {Time: 20}, {Time: 30}, {Time: 40, Value: 1}},
	})
	if diff := cmp.Diff([]int64{20, 30}, l.Zeros("i")); diff != "" {
		t.Errorf("times of an up of 0 differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{10, 20, 30, 40}, l.Times(Key("up", "i", "", ""))); diff != "" {
		t.Errorf("times differ (-want +got):\n%s", diff)
	}
}
