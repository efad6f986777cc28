// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

// everything is a batch of each kind of record that has something to ship.
func everything() []logged.Batch {
	h := &histogram.Histogram{Schema: 1, Count: 3, Sum: 2, ZeroThreshold: 0.1, PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{1, 1}}
	custom := &histogram.Histogram{Schema: histogram.CustomBucketsSchema, Count: 3, Sum: 2, PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{1, 1}, CustomValues: []float64{1, 2}}
	hs := func(h *histogram.Histogram, st int64) []record.RefHistogramSample {
		return []record.RefHistogramSample{{Ref: 1, ST: st, T: 5, H: h}, {Ref: 1 << 40, T: 6, ST: st, H: h}}
	}
	fs := func(h *histogram.Histogram, st int64) []record.RefFloatHistogramSample {
		return []record.RefFloatHistogramSample{{Ref: 1, ST: st, T: 5, FH: h.ToFloat(nil)}, {Ref: 7, ST: st, T: -6, FH: h.ToFloat(nil)}}
	}
	return []logged.Batch{
		{Samples: []record.RefSample{{Ref: 1, T: 5, V: 2}, {Ref: 1 << 40, T: -7, V: -1}}},
		{Samples: []record.RefSample{{Ref: 1, ST: 2, T: 5, V: 2}, {Ref: 3, T: 6, V: 1}, {Ref: 4, T: 6, ST: 4, V: 1}, {Ref: 5, T: 6, ST: 4, V: 1}}},
		{Histograms: hs(h, 0)},
		{Histograms: hs(custom, 0)},
		{Histograms: append(hs(h, 3), hs(custom, 4)...)},
		{FloatHistograms: fs(h, 0)},
		{FloatHistograms: fs(custom, 0)},
		{FloatHistograms: append(fs(h, 3), fs(custom, 4)...)},
		{Exemplars: []record.RefExemplar{{Ref: 1, T: 5, V: 2, Labels: labels.FromStrings("trace_id", "x")}, {Ref: 2, T: 6, V: 1, Labels: labels.FromStrings("trace_id", "x", "y", "z")}}},
	}
}

// everyRecord is those batches as records.
func everyRecord() [][]byte {
	b, v1, v2 := everything(), &record.Encoder{}, &record.Encoder{EnableSTStorage: true}
	first := func(rec []byte, _ any) []byte { return rec }
	h1, none := v1.HistogramSamples(b[2].Histograms, nil)
	f1, _ := v1.FloatHistogramSamples(b[5].FloatHistograms, nil)
	h2, _ := v2.HistogramSamples(b[4].Histograms, nil)
	f2, _ := v2.FloatHistogramSamples(b[7].FloatHistograms, nil)
	return [][]byte{
		v1.Samples(b[0].Samples, nil), v2.Samples(b[1].Samples, nil),
		first(h1, none), v1.CustomBucketsHistogramSamples(b[3].Histograms, nil), h2,
		f1, v1.CustomBucketsFloatHistogramSamples(b[6].FloatHistograms, nil), f2,
		v1.Exemplars(b[8].Exemplars, nil),
	}
}

func TestReaderKnowsEveryKindOfRecord(t *testing.T) {
	f := newFolder(t, 1)
	others := [][]byte{
		{},
		seriesRecord(1, 2), metadataRecord(1, "help"), new(record.Encoder).Tombstones(nil, nil),
		new(record.Encoder).MmapMarkers(nil, nil), new(record.Encoder).MinValidTime(1, nil), new(record.Encoder).Samples(nil, nil),
	}
	for _, rec := range everyRecord() {
		f.put(logFile(1, 0), append(others, rec)...)
	}
	f.put(logFile(1, 0), others...)
	f.put(logFile(1, 1))
	d, counted := f.damage()
	r := f.reader(logged.Position{}, d)

	var got []logged.Batch
	var end logged.Position
	for b := (logged.Batch{}); r.Next(&b); b = (logged.Batch{}) {
		if b.Generation != 1 || b.Begin.Before(end) || !b.Begin.Before(b.End) || b.End != r.Position() {
			t.Errorf("a batch of %d at %s..%s after one that ends at %s; position %s", b.Generation, b.Begin, b.End, end, r.Position())
		}
		end = b.End
		b.Generation, b.Begin, b.End = 0, logged.Position{}, logged.Position{}
		got = append(got, b)
	}
	if diff := cmp.Diff(everything(), got, cmpopts.EquateEmpty(), cmp.Comparer(labels.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := (logged.Position{Generation: 1, Segment: 1}); r.Position() != want {
		t.Errorf("position %s at the end, want %s", r.Position(), want)
	}
	if n := counted(reasonUndecodable); n != 0 {
		t.Errorf("%g undecodable", n)
	}
}

func TestReaderLeavesOutWhatItCannotDecode(t *testing.T) {
	f := newFolder(t, 2)
	future := everything()[2].Histograms
	future[0].H = future[0].H.Copy()
	future[0].H.Schema = 77
	unknown, _ := new(record.Encoder).HistogramSamples(future, nil)
	f.put(logFile(1, 0),
		[]byte{77}, sampleRecord(1, 1)[:15], []byte{byte(record.Series), 1}, unknown, sampleRecord(2, 2))
	f.put(logFile(2, 0))
	d, counted := f.damage()
	// Two readers count the same places once.
	for range 2 {
		r := f.reader(logged.Position{}, d)
		if diff := cmp.Diff([]string{"2 2"}, drain(r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if u, s := counted(reasonUndecodable), counted(reasonUnknownSchema); u != 3 || s != 1 {
		t.Errorf("%g undecodable and %g of unknown schema, want 3 and 1", u, s)
	}
}

func TestReaderMovesThroughSegmentsAndGenerations(t *testing.T) {
	f := newFolder(t, 5)
	f.put(logFile(2, 7), seriesRecord(1), sampleRecord(1, 1))
	f.put(logFile(2, 8), sampleRecord(2, 1))
	f.put(logFile(4, 0), seriesRecord(1, 2), sampleRecord(3, 2))
	f.put(logFile(5, 0), sampleRecord(4, 1))
	d, counted := f.damage()
	all := []string{`1 1{__name__="m1"}`, `2 1{__name__="m1"}`, `3 2{__name__="m2"}`, "4 1"}
	for at, skipped := range map[logged.Position]int{
		{}: 0, {Generation: 2, Segment: 3, Offset: 70}: 0, {Generation: 2, Segment: 8}: 1, {Generation: 2, Segment: 9}: 2,
		{Generation: 3, Segment: 3, Offset: 99}: 2, {Generation: 4, Segment: 0, Offset: 1 << 20}: 3, {Generation: 5}: 3,
	} {
		if diff := cmp.Diff(all[skipped:], drain(f.reader(at, d))); diff != "" {
			t.Errorf("from %s (-want +got):\n%s", at, diff)
		}
	}

	// What comes later is found.
	r := f.reader(logged.Position{}, d)
	drain(r)
	f.put(logFile(5, 0), sampleRecord(5, 1))
	f.put(logFile(5, 1), sampleRecord(6, 1))
	if diff := cmp.Diff([]string{"5 1", "6 1"}, drain(r)); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
	if n := counted(reasonMissingSegment); n != 0 {
		t.Errorf("%g missing segments", n)
	}
}

func TestReaderWaitsForTheRestOfARecord(t *testing.T) {
	f := newFolder(t, 1)
	f.put(logFile(1, 0), sampleRecord(1, 1), sampleRecord(2, 2))
	path := filepath.Join(f.dir, logFile(1, 0).String())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(whole)-5)); err != nil {
		t.Fatal(err)
	}
	d, counted := f.damage()
	r := f.reader(logged.Position{}, d)
	if got := drain(r); len(got) != 1 {
		t.Fatalf("read %q", got)
	}
	at := r.Position()
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Reader{"the same": r, "another": f.reader(at, d)} {
		if diff := cmp.Diff([]string{"2 2"}, drain(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	// In a segment that has a successor it will never come.
	f.put(logFile(1, 0), sampleRecord(3, 3))
	if err := os.Truncate(path, int64(len(whole)+5)); err != nil {
		t.Fatal(err)
	}
	if got := drain(r); len(got) != 0 || counted(reasonTorn) != 0 {
		t.Errorf("read %q, %g torn before the successor", got, counted(reasonTorn))
	}
	f.put(logFile(1, 1), sampleRecord(4, 4))
	if diff := cmp.Diff([]string{"4 4"}, drain(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := counted(reasonTorn); n != 1 {
		t.Errorf("%g torn, want 1", n)
	}
}

func TestReaderCountsAGapAndGoesOn(t *testing.T) {
	f := newFolder(t, 1)
	for _, s := range []int{0, 1, 4} {
		f.put(logFile(1, s), sampleRecord(int64(s), 1))
	}
	d, counted := f.damage()
	if diff := cmp.Diff([]string{"0 1", "1 1", "4 1"}, drain(f.reader(logged.Position{}, d))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := counted(reasonMissingSegment); n != 2 {
		t.Errorf("%g missing segments, want 2", n)
	}
}

func TestReaderIsNotStoppedByForeignFiles(t *testing.T) {
	f := newFolder(t, 1)
	f.put(logFile(1, 0), sampleRecord(1, 1))
	f.put(logFile(1, 3), sampleRecord(2, 1))
	if err := syscall.Mkfifo(filepath.Join(f.dir, logFile(1, 1).String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.dir, logFile(1, 2).String()), 0o700); err != nil {
		t.Fatal(err)
	}
	d, _ := f.damage()
	if diff := cmp.Diff([]string{"1 1", "2 1"}, drain(f.reader(logged.Position{}, d))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReaderTriesAgainWhenTheLogCannotBeListed(t *testing.T) {
	f := newFolder(t, 1)
	f.put(logFile(1, 0), sampleRecord(1, 1))
	f.put(logFile(1, 1), sampleRecord(2, 1))
	d, _ := f.damage()
	r := f.reader(logged.Position{}, d)
	f.err = syscall.EIO
	if got := drain(r); len(got) > 0 {
		t.Errorf("read %q", got)
	}
	f.err = nil
	if diff := cmp.Diff([]string{"1 1", "2 1"}, drain(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
