// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"testing"
	"time"
	"unique"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

func TestOldGenerationsHaveTheirSeries(t *testing.T) {
	f := newFolder(t, 2)
	checkpoint := func(n int) heldFile { return heldFile{1, n, 0} }
	f.put(checkpoint(2), seriesRecord(1), metadataRecord(1, "of checkpoint 2"))
	f.put(checkpoint(6), seriesRecord(1, 2, 4, 5, 9))
	f.put(logFile(1, 3), seriesRecord(2), metadataRecord(2, "two"), metadataRecord(1, "of segment 3"))
	f.put(logFile(1, 4), sampleRecord(10, 1), sampleRecord(10, 2), sampleRecord(10, 3), sampleRecord(11, 4))
	f.put(logFile(1, 5), seriesRecord(3), sampleRecord(12, 9), sampleRecord(12, 77))
	f.put(logFile(1, 6), seriesRecord(4))
	d, _ := f.damage()
	r := f.reader(logged.Position{Generation: 1, Segment: 4}, d)
	if diff := cmp.Diff([]string{
		`10 1{__name__="m1"}`, `10 2{__name__="m2"}`,
		`10 3{__name__="m3"}`,                        // logged in the next segment
		`11 4{__name__="m4"}`, `12 9{__name__="m9"}`, // of the newest checkpoint, as if their records were damaged
		`12 77`,
	}, drain(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for ref, help := range map[chunks.HeadSeriesRef]string{1: "of segment 3", 2: "two"} {
		got, _ := r.Series(ref)
		want := metadata.Metadata{Type: model.MetricTypeGauge, Help: help} // The unit is not plausible.
		if got.Metadata != unique.Make(want) {
			t.Errorf("series %d has %v", ref, got.Metadata)
		}
	}
	if got, _ := r.Series(3); got.Metadata != (unique.Handle[metadata.Metadata]{}) {
		t.Errorf("series 3 has metadata %v", got.Metadata.Value())
	}
}

func TestIdleSeriesOfOldGenerationsAreForgotten(t *testing.T) {
	const minutes, each = 600, 40 // series that come each minute, and go after five
	f := newFolder(t, 2)
	t0 := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for m := range minutes {
		var fresh, live []int
		for s := max(0, m-4) * each; s < (m+1)*each; s++ {
			live = append(live, s+100)
		}
		for s := m * each; s < (m+1)*each; s++ {
			fresh = append(fresh, s+100)
		}
		at := t0 + int64(m)*60_000
		if m == 0 {
			fresh = append(fresh, 1, 2)
		}
		f.put(logFile(1, m/5), seriesRecord(fresh...), sampleRecord(at, 2))
		if m == 204 {
			at += 30 * 24 * 3600_000 // a clock out of its mind for a minute, the last of a segment
		}
		f.put(logFile(1, m/5), sampleRecord(at, append(live, 1)...))
	}
	d, _ := f.damage()
	r := f.reader(logged.Position{}, d)
	var b logged.Batch
	most := 0
	for first := true; r.Next(&b); first = false {
		if first {
			r.old.many = 100
		}
		for _, s := range b.Samples {
			if _, ok := r.Series(s.Ref); !ok {
				t.Fatalf("series %d is forgotten at %s", s.Ref, b.Begin)
			}
		}
		most = max(most, len(r.old.series))
	}
	if limit := 90 * each; most > limit || most < 60*each {
		t.Errorf("up to %d series were remembered, want about those of an hour, %d", most, 60*each)
	}
}
