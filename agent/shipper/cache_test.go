// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"strconv"
	"testing"
	"unique"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/metadata"
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
	looks := 0
	find := func(ref chunks.HeadSeriesRef) (logged.Series, bool) {
		looks++
		s, ok := known[ref]
		return s, ok
	}
	c, set := newSeriesCache(), &settings{version: 1, metadata: promconfig.MetadataConfig{Send: true}}
	c.enter(1)
	c.now = 1000
	s := c.get(1, set, find)
	if s == nil || s.logged.Get("n") != "a" || s.metadata.Value().Help != "first" {
		t.Fatalf("%+v", s)
	}
	if c.get(2, set, find) != nil {
		t.Error("a series that the log does not know")
	}
	looks = 0
	c.now += metadataAge*1000 - 1000
	if c.get(1, set, find) != s || looks != 0 {
		t.Error("looked up again at once")
	}
	known[1] = logged.Series{Labels: packed.Of(named("a")), Metadata: about("second", "")}
	c.now += 1000
	if got := c.get(1, set, find); got != s || s.metadata.Value().Help != "second" {
		t.Error("new metadata is not taken up, which is sent by 1.0, too")
	}
	delete(known, 1)
	c.now += metadataAge * 1000
	if got := c.get(1, set, find); got != s || s.metadata.Value().Help != "second" {
		t.Error("a series was forgotten because the log has")
	}
	newer := &settings{version: 2}
	if got := c.get(1, newer, find); got != s || s.version != 2 {
		t.Error("not resolved by newer settings")
	}
	c.enter(2)
	if c.get(1, set, find) != nil {
		t.Error("a ref of another generation is another series")
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
	looks := 0
	find := func(chunks.HeadSeriesRef) (logged.Series, bool) {
		looks++
		return logged.Series{Labels: packed.Of(named("a"))}, true
	}
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
			c.sweep(w.number, w.points)
		}
		if minute == 60 {
			hour = len(c.chunks)
		}
	}
	if n := len(c.chunks); n > hour+hour/4+1 || n > 12*alive/cacheChunk {
		t.Errorf("%d chunks after a day, %d after an hour", n, hour)
	}
	if most := alive + 24*60*alive/10 + 2; looks > most {
		t.Errorf("%d looked up, there were %d series", looks, most)
	}
}

func TestPlausibleUnits(t *testing.T) {
	for name, tc := range map[string]struct{ unit, want string }{
		"up":                          {"targets", ""},
		"scrape_duration_seconds":     {"seconds", "seconds"},
		"http_requests_bytes_total":   {"bytes", "bytes"},
		"scrape_samples_scraped":      {"samples", ""},
		"process_start_time_seconds":  {"", ""},
		"seconds":                     {"seconds", ""},
		"request_size_bytes_created":  {"bytes", "bytes"},
		"something_milliseconds_info": {"seconds", ""},
	} {
		s := logged.Series{Labels: packed.Of(named("a")), Metadata: about("h", tc.unit)}
		s.Labels = packed.Of(withName(name))
		if got := plausible(s).Value(); got.Unit != tc.want || got.Help != "h" {
			t.Errorf("%s: %+v, want unit %q", name, got, tc.want)
		}
	}
	if !metadata.IsZeroHandle(plausible(logged.Series{Labels: packed.Of(named("a"))})) {
		t.Error("metadata out of nothing")
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

// TestMetadataAcrossEighteenHours: seconds begin again then.
func TestMetadataAcrossEighteenHours(t *testing.T) {
	c, set := newSeriesCache(), &settings{version: 1, metadata: promconfig.MetadataConfig{Send: true}}
	looks := 0
	find := func(chunks.HeadSeriesRef) (logged.Series, bool) {
		looks++
		return logged.Series{Labels: packed.Of(named("a"))}, true
	}
	c.now = (1<<16 - 30) * 1000
	for range 100 {
		c.get(1, set, find)
		c.now += 1000
	}
	if looks != 2 {
		t.Errorf("looked up %d times in 100 s, want 2", looks)
	}
}
