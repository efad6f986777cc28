// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"strconv"
	"testing"
	"unique"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

func about(help, unit string) unique.Handle[metadata.Metadata] {
	return unique.Make(metadata.Metadata{Type: model.MetricTypeCounter, Help: help, Unit: unit})
}

func TestCache(t *testing.T) {
	known := map[chunks.HeadSeriesRef]logged.Series{1: {Labels: packed.Of(named("a")), Metadata: about("first", "")}}
	find := func(ref chunks.HeadSeriesRef) (logged.Series, bool) {
		s, ok := known[ref]
		return s, ok
	}
	c, set := newSeriesCache(), &settings{version: 1, metadata: promconfig.MetadataConfig{Send: true}}
	c.enter(1)
	c.begin(1)
	s := c.get(1, set, find)
	if s == nil || s.logged.Get("n") != "a" || s.metadata.Value().Help != "first" || s.newest != math.MinInt64 {
		t.Fatalf("%+v", s)
	}
	if c.get(2, set, find) != nil {
		t.Error("a series that the log does not know")
	}
	s.newest, s.step = -5, step{number: 7}
	known[1] = logged.Series{Labels: packed.Of(named("a")), Metadata: about("second", "")}
	if c.get(1, set, find) != s {
		t.Error("a series is two in one window")
	}
	newer := &settings{version: 2, metadata: promconfig.MetadataConfig{Send: true}}
	if got := c.get(1, newer, find); got != s || s.version != 2 {
		t.Error("not resolved by newer settings")
	}
	s.step = step{number: 7}
	c.begin(2)
	s = c.get(1, newer, find)
	if s.newest != -5 || s.step.number != 7 || s.version != 2 {
		t.Errorf("the next window does not know what is to be known: %+v", s)
	}
	if s.metadata.Value().Help != "second" {
		t.Error("new metadata is not taken up, which is sent by 1.0, too")
	}
	c.enter(2)
	delete(known, 1)
	if c.get(1, newer, find) != nil {
		t.Error("a ref of another generation is another series")
	}
}

// TestCacheRemembersRules: they are asked once for each series, and again by other settings.
func TestCacheRemembersRules(t *testing.T) {
	find := func(ref chunks.HeadSeriesRef) (logged.Series, bool) {
		return logged.Series{Labels: packed.Of(labels.FromStrings("__name__", "m", "n", strconv.Itoa(int(ref))))}, true
	}
	c, set := newSeriesCache(), &settings{version: 1, relabel: []*relabel.Config{
		{Action: relabel.Drop, SourceLabels: model.LabelNames{"n"}, Regex: relabel.MustNewRegexp("1"), NameValidationScheme: model.UTF8Validation},
		{Action: relabel.Replace, SourceLabels: model.LabelNames{"n"}, Regex: relabel.MustNewRegexp("2"), TargetLabel: "other", Replacement: "two", NameValidationScheme: model.UTF8Validation},
	}}
	c.enter(1)
	for window := range uint32(3) {
		c.begin(window + 1)
		dropped, changed, same := c.get(1, set, find), c.get(2, set, find), c.get(3, set, find)
		if !dropped.dropped || dropped.rank != 0 || !changed.complete || changed.labels().Get("other") != "two" ||
			same.dropped || same.complete {
			t.Errorf("window %d: %+v, %+v, %+v", window+1, dropped, changed, same)
		}
		for _, s := range []*series{dropped, changed, same} {
			if window == 0 {
				s.step.number = 7
			} else if s.step.number != 7 {
				t.Errorf("window %d: the rules were asked again", window+1) // That forgets the step.
			}
		}
	}
	set = &settings{version: 2}
	c.begin(10)
	for ref := range chunks.HeadSeriesRef(4) {
		if s := c.get(ref, set, find); s.dropped || s.complete || s.form != nil || s.step.number != 0 {
			t.Errorf("without rules: %+v", s)
		}
	}
	c.get(1, set, find).window = c.window
	c.sweep(sweepAfter * fewestSwept)
	if c.chunks[0].formed != nil {
		t.Error("memory for what rules make of series is kept without rules")
	}
}

// TestCacheGivesMemoryBack: what one large window took goes in the course of those after it.
func TestCacheGivesMemoryBack(t *testing.T) {
	find := func(chunks.HeadSeriesRef) (logged.Series, bool) {
		return logged.Series{Labels: packed.Of(named("a"))}, true
	}
	c, set := newSeriesCache(), &settings{version: 1}
	c.enter(1)
	for window := range uint32(200) {
		c.begin(window + 1)
		n := 300
		if window == 0 {
			n = 100_000
		}
		for ref := range n {
			c.get(chunks.HeadSeriesRef(ref), set, find)
		}
	}
	if n, m := len(c.awake.places), len(c.awake.spare); n > 3+31 || m > 5+31 {
		t.Errorf("memory for %d series and %d chunks is kept for windows of 300", n*placesAtOnce, m)
	}
}

// A day of churn, a tenth of the series new each minute, takes what an hour
// takes, though one series comes from ten years ahead and one from the past; and
// none that lives is forgotten.
func TestCacheForgetsWhatIsIdle(t *testing.T) {
	for _, perMinute := range []int{1, 4} {
		t.Run(strconv.Itoa(perMinute)+" scrapes a minute", func(t *testing.T) { churnCache(t, perMinute) })
	}
}

func churnCache(t *testing.T, perMinute int) {
	t.Helper()
	const alive = 24 * cacheChunk
	find := func(chunks.HeadSeriesRef) (logged.Series, bool) {
		return logged.Series{Labels: packed.Of(named("a"))}, true
	}
	begun := 0 // how often a series had its first point, as far as the cache knows
	c, w, set := newSeriesCache(), &window{}, &settings{version: 1, perRequest: 10_000}
	var hour int
	for minute := range 24 * 60 {
		first := minute * alive / 10
		for scrape := range perMinute {
			w.reset(logged.Position{}, 1, 10_000)
			at := int64(1_700_000_000_000) + int64(minute*60_000+scrape*60_000/perMinute)
			b := &logged.Batch{Samples: []record.RefSample{sample(1, at+10*365*86_400_000, 1), sample(2, int64(minute*perMinute+scrape), 1)}}
			for ref := first; ref < first+alive; ref++ {
				b.Samples = append(b.Samples, sample(ref+100, at, 1))
			}
			w.add(b, set, c, find)
			for _, k := range c.awake.chunks {
				for i, s := range k.awake {
					if s != nil && k.resting[i].newest == 0 {
						begun++
					}
				}
			}
			c.sweep(w.points)
		}
		if minute == 60 {
			hour = len(c.chunks)
		}
	}
	if n := len(c.chunks); n > hour+hour/4+1 || n > 12*alive/cacheChunk {
		t.Errorf("%d chunks after a day, %d after an hour", n, hour)
	}
	if most := alive + 24*60*alive/10 + 2; begun > most {
		t.Errorf("%d were not known, there were %d series", begun, most)
	}
}

// TestVersionsBeginAgain: 0 is that of a series that is not known yet.
func TestVersionsBeginAgain(t *testing.T) {
	s := &Shipper{}
	before := s.nextVersion()
	for range 1 << 17 {
		v := s.nextVersion()
		if v == 0 || v == before {
			t.Fatalf("version %d after %d", v, before)
		}
		before = v
	}
}
