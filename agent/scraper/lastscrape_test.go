// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

func TestLastScrapes(t *testing.T) {
	s := &Scraper{guard: &guard{}}
	last := &s.guard.last
	newTarget := func() *scrape.Target {
		return scrape.NewTarget(labels.EmptyLabels(), nil, model.LabelSet{}, model.LabelSet{})
	}
	kept := newTarget()
	if n, ok := s.Samples(kept); ok {
		t.Errorf("%+v of a target that was never scraped", n)
	}
	last.note(kept, brought{up: 1, scraped: 12, kept: 10, added: 3})
	last.note(kept, brought{up: math.NaN()}) // The target's end.
	last.note(nil, brought{up: 1})
	want := status.Samples{Scraped: 12, Kept: 10, Added: 3}
	if n, ok := s.Samples(kept); !ok || n != want {
		t.Errorf("%+v, %v; want %+v", n, ok, want)
	}

	// Targets that are gone are forgotten, sooner or later.
	for deadline := time.Now().Add(time.Minute); ; {
		for range 10 * pruneFrom {
			last.note(newTarget(), brought{up: 1})
		}
		runtime.GC()
		for range 10 * pruneFrom {
			last.note(kept, brought{up: 1, scraped: 12, kept: 10, added: 3})
			last.note(newTarget(), brought{})
		}
		if len(last.of) < 20*pruneFrom {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d targets are remembered", len(last.of))
		}
	}
	if n, _ := s.Samples(kept); n != want {
		t.Errorf("%+v; want %+v", n, want)
	}
	runtime.KeepAlive(kept)
}
