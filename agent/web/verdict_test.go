// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

func newBuilder() *labels.Builder { return labels.NewBuilder(labels.EmptyLabels()) }

func TestVerdict(t *testing.T) {
	f := func(name string, change func(*world), title, level string, reasons ...string) {
		t.Helper()
		w := newWorld()
		change(w)
		s := newTestServer(t, w.options(t))
		l := s.look()
		v := judge(l, s.history.lost(l.Destinations))
		if v.Title != title || v.Level != level || len(v.Reasons) != len(reasons)/2 {
			t.Errorf("%s: %s, %s, %+v", name, v.Title, v.Level, v.Reasons)
			return
		}
		for i, r := range v.Reasons {
			if !strings.Contains(r.Text, reasons[2*i]) || !strings.HasPrefix(r.Page, reasons[2*i+1]) {
				t.Errorf("%s: %+v; want %q on page %s", name, r, reasons[2*i], reasons[2*i+1])
			}
		}
	}
	destination := func(change func(*status.Destination)) func(*world) {
		return func(w *world) { change(&w.destinations[0]) }
	}
	ago := func(d time.Duration) *time.Time { return new(time.Now().Add(-d)) }
	const well, attention = "All is well", "Needs attention"

	f("well", func(*world) {}, well, levelGood)
	f("not ready", func(w *world) { w.about.NotReady = "the log is being read" }, "Not ready", levelBad, "the log is being read", "log")
	f("refused config", func(w *world) { w.about.Notice = "The last reload was refused" }, attention, levelBad, "The last reload", "config")
	f("target down", func(w *world) { w.active["node"][0].Report(time.Now(), 0, errors.New("x")) }, attention, levelBad,
		"1 of 13 targets does not answer as a target should: node (1).", "targets?health=down")
	f("nothing scraped", func(w *world) { w.active = nil }, attention, levelWarn, "Nothing is scraped", "service-discovery")
	f("nothing of this agent's", func(w *world) {
		w.active, w.dropped, w.scopes.Jobs = nil, nil, []status.Job{{Name: "a", By: "other"}}
	}, well, levelGood)
	f("no destination", func(w *world) { w.destinations = nil }, attention, levelWarn, "names no remote_write", "config")
	f("failing", destination(func(d *status.Destination) {
		d.FailingSince, d.LastError = ago(90*time.Second), "503 Service Unavailable."
	}), attention, levelBad, "central cannot be reached, or answers with an error, for 1 min 30 s: 503 Service Unavailable. Nothing is lost: 1,204 samples wait on disk for it.", "destinations#x")
	f("parked", destination(func(d *status.Destination) { d.ParkedSince = ago(2 * time.Hour) }), attention, levelBad,
		"has not been ready to receive for 2 h: it gave no reason.", "destinations#x")
	f("old backlog", destination(func(d *status.Destination) { d.BacklogSeconds = 301 }), attention, levelWarn, "is behind", "destinations#x")
	f("young backlog", destination(func(d *status.Destination) { d.BacklogSeconds = 299 }), well, levelGood)
	f("lost", destination(func(d *status.Destination) { d.Ledger.Lost["budget"] = 1 }), attention, levelBad, "lost 1 sample within the last hour", "destinations#x")
	f("little disk", destination(func(d *status.Destination) { d.BudgetHours = new(11.5) }), attention, levelWarn, "in an outage of 11 h 30 min", "destinations#x")
	f("enough disk", destination(func(d *status.Destination) { d.BudgetHours = new(12.0) }), well, levelGood)
	f("clock", destination(func(d *status.Destination) { d.ClockOffsetSeconds = new(-90.0) }), attention, levelWarn, "1 min 30 s behind this machine's", "destinations#x")
	f("series closed", func(w *world) { w.series.Closed = "the limit of 200,000 is reached" }, attention, levelBad,
		"New series are refused: the limit of 200,000 is reached. Job pods has added most within the last hour: 312.", "series")
	f("job full", func(w *world) { w.series.Jobs[0].Active, w.series.Jobs[0].Refused = 100_000, 7 }, attention, levelBad,
		"New series are refused of jobs that have as many as their limit: pods (100,000).", "series")
	f("job full, and nothing refused", func(w *world) { w.series.Jobs[0].Active = 100_000 }, well, levelGood)
	f("job refused once", func(w *world) { w.series.Jobs[0].Refused = 7 }, well, levelGood)
	f("error in the log", func(w *world) {
		w.log = []status.LogLine{{Time: time.Now().Add(-9 * time.Minute), Level: "error"}, {Time: time.Now().Add(-11 * time.Minute), Level: "error"}}
	}, attention, levelWarn, "1 error in the log", "log?level=error")
	f("two things", func(w *world) {
		w.series.Closed, w.active = "x", map[string][]*scrape.Target{}
	}, attention, levelBad, "Nothing is scraped", "service-discovery", "New series", "series")
}

// What was lost more than an hour ago is no reason any more to look at it today.
func TestLostWithinTheHour(t *testing.T) {
	h := history{}
	now := time.Now()
	at := func(lost int64) []status.Destination {
		return []status.Destination{{Name: "a", Ledger: status.Ledger{Lost: map[string]int64{"budget": lost}}}}
	}
	if got := h.lost(at(7))["a"]; got != 7 {
		t.Errorf("at the start %d", got)
	}
	for i := range historyLength {
		h.note(now.Add(time.Duration(i)*historyEvery), at(5))
	}
	if got := h.lost(at(7))["a"]; got != 2 {
		t.Errorf("after an hour %d", got)
	}
	h.note(now, at(6))
	if points := h.of("a"); len(points) != historyLength || points[0].lost != 5 || points[len(points)-1].lost != 6 {
		t.Errorf("%d points, from %+v to %+v", len(points), points[0], points[len(points)-1])
	}
	h.note(now, nil)
	if points := h.of("a"); points != nil {
		t.Errorf("a destination that is no more has %d points", len(points))
	}
	many := make([]status.Destination, 1000)
	for i := range many {
		many[i].Name = strings.Repeat("x", i)
	}
	if h.note(now, many); len(h.rings) != historyMost {
		t.Errorf("%d destinations are remembered", len(h.rings))
	}
}
