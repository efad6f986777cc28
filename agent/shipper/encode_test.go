// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"unique"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"torchbearer/agent/packed"
)

// sameBits compares floats by their bits: there is more than one NaN, and -0.
var sameBits = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
}

// TestEncodesAsLibrary compares what random points become with what the
// library's builders make of them.
func TestEncodesAsLibrary(t *testing.T) {
	one, two := map[bool]encoder{}, map[bool]encoder{}
	for _, reused := range []bool{false, true} {
		numbers := new(uint64)
		for seed := range uint64(150) {
			r := seeded(seed)
			opts := encodeOptions{added: r.added(), typeAndUnitLabels: r.IntN(2) == 0, numbers: numbers}
			if !reused || one[reused] == nil {
				one[reused], two[reused] = newEncoder(false, opts), newEncoder(true, opts)
			}
			// Encoders that were used before have nothing left of that.
			one[reused].(*encoder1).opts.added, two[reused].(*encoder2).opts = opts.added, opts
			points := r.points()
			compare1(t, one[reused], points, opts, !r.minusZero)
			compare2(t, two[reused], points, opts)
			if t.Failed() {
				t.Fatalf("seed %d, encoder used before: %v", seed, reused)
			}
		}
	}
}

// FuzzEncode is TestEncodesAsLibrary with points of the fuzzer's choice.
func FuzzEncode(f *testing.F) {
	for seed := range uint64(20) {
		r, data := seeded(seed), make([]byte, 0, 2048)
		for range 2048 {
			data = append(data, byte(r.Uint32()))
		}
		f.Add(data[:100*seed])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := fuzzed(data)
		opts := encodeOptions{added: r.added(), typeAndUnitLabels: r.IntN(2) == 0, numbers: new(uint64)}
		points := r.points()
		compare1(t, newEncoder(false, opts), points, opts, !r.minusZero)
		compare2(t, newEncoder(true, opts), points, opts)
	})
}

func compare1(t *testing.T, e encoder, points []point, opts encodeOptions, bytesToo bool) {
	t.Helper()
	want := byLibrary1(points, opts.added)
	got := e.encode([]byte("before"), points)
	got, ok := bytes.CutPrefix(got, []byte("before"))
	if !ok {
		t.Fatal("what was before the request is gone")
	}
	wire, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(wire, got) {
		return
	}
	var req prompb.WriteRequest
	if err := req.Unmarshal(got); err != nil {
		t.Fatalf("1.0: %v", err)
	}
	diff := cmp.Diff(want, &req, sameBits)
	if diff != "" || bytesToo {
		t.Errorf("1.0: other bytes than the library's; -library +ours:\n%s", diff)
	}
}

func compare2(t *testing.T, e encoder, points []point, opts encodeOptions) {
	t.Helper()
	want, leftOut := byLibrary2(points, opts)
	got := e.encode([]byte("before"), points)
	got, ok := bytes.CutPrefix(got, []byte("before"))
	if !ok {
		t.Fatal("what was before the request is gone")
	}
	req := decode2(t, got)
	if diff := cmp.Diff(telling(t, want), telling(t, req), sameBits); diff != "" {
		t.Errorf("2.0, -library +ours:\n%s", diff)
	}
	if e.exemplarsLeftOut() != leftOut {
		t.Errorf("2.0: %d exemplars left out, want %d", e.exemplarsLeftOut(), leftOut)
	}
	symbols := slices.Clone(want.Symbols)
	slices.Sort(symbols)
	slices.Sort(req.Symbols)
	if diff := cmp.Diff(symbols, req.Symbols); diff != "" {
		t.Errorf("2.0: symbols, -library +ours:\n%s", diff)
	}
}

// decode2 reads a request of Remote Write 2.0 and sees to its form.
func decode2(t *testing.T, body []byte) *writev2.Request {
	t.Helper()
	req := &writev2.Request{}
	if err := req.Unmarshal(body); err != nil {
		t.Fatalf("2.0: %v", err)
	}
	if len(req.Symbols) == 0 || req.Symbols[0] != "" {
		t.Fatalf("2.0: the table of strings does not begin with the empty one: %q", req.Symbols)
	}
	return req
}

func TestEncodeNothing(t *testing.T) {
	if got := newEncoder(false, encodeOptions{}).encode(nil, nil); len(got) != 0 {
		t.Errorf("1.0: %x", got)
	}
	if req := decode2(t, newEncoder(true, encodeOptions{}).encode(nil, nil)); len(req.Timeseries) != 0 {
		t.Errorf("2.0: %v", req)
	}
}

// TestOneTimeSeriesForARun has samples, histograms and exemplars of two series.
func TestOneTimeSeriesForARun(t *testing.T) {
	a, b := &series{logged: packed.Of(labels.FromStrings("__name__", "a"))}, &series{logged: packed.Of(labels.FromStrings("__name__", "b"))}
	withExemplar := &other{exemplar: &exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "1"), Value: 1, Ts: 9, HasTs: true}}
	withHistogram := &other{histogram: &histogram.Histogram{Count: 1}}
	points := []point{
		{series: a, t: 1},
		{series: a, t: 2},
		{series: a, t: 2, other: withExemplar},
		{series: a, t: 3, other: withHistogram}, // not in one TimeSeries with samples
		{series: a, t: 3, other: withExemplar},
		{series: a, t: 4},
		{series: b, t: 5},
		{series: a, t: 9, other: withExemplar}, // alone
	}
	e := newEncoder(true, encodeOptions{})
	var got [][4]int
	for _, ts := range decode2(t, e.encode(nil, points)).Timeseries {
		got = append(got, [4]int{len(ts.Samples), len(ts.Histograms), len(ts.Exemplars)})
	}
	if diff := cmp.Diff([][4]int{{2, 0, 1}, {0, 1, 1}, {1}, {1}}, got); diff != "" {
		t.Errorf("2.0 -want +got:\n%s", diff)
	}
	if e.exemplarsLeftOut() != 1 {
		t.Errorf("2.0: %d exemplars left out, want 1", e.exemplarsLeftOut())
	}
	if e.encode(nil, points[:2]); e.exemplarsLeftOut() != 0 {
		t.Errorf("2.0: %d exemplars left out of a request without", e.exemplarsLeftOut())
	}

	var req prompb.WriteRequest
	if err := req.Unmarshal(newEncoder(false, encodeOptions{}).encode(nil, points)); err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, ts := range req.Timeseries {
		got = append(got, [4]int{len(ts.Samples), len(ts.Histograms), len(ts.Exemplars)})
	}
	if diff := cmp.Diff([][4]int{{2, 0, 1}, {0, 1, 1}, {1}, {1}, {0, 0, 1}}, got); diff != "" {
		t.Errorf("1.0 -want +got:\n%s", diff)
	}
}

// TestStringsComeBeforeSeries holds since some receivers decode as they read.
func TestStringsComeBeforeSeries(t *testing.T) {
	r := seeded(7)
	body := newEncoder(true, encodeOptions{}).encode(nil, r.points())
	seriesSeen := false
	for len(body) > 0 {
		tag, size, head := body[0], 0, 1
		for shift := 0; ; shift += 7 {
			size |= int(body[head]&0x7f) << shift
			head++
			if body[head-1] < 0x80 {
				break
			}
		}
		switch {
		case tag == 0x2a:
			seriesSeen = true
		case tag != tagSymbols || seriesSeen:
			t.Fatalf("field %x after a series: %v", tag, seriesSeen)
		}
		body = body[head+size:]
	}
	if !seriesSeen {
		t.Error("no series")
	}
}

func TestEncodeMetadata(t *testing.T) {
	families := []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "requests_total", Help: "Größe", Unit: "bytes"},
		{},
		{Type: prompb.MetricMetadata_STATESET, MetricFamilyName: "s", Help: strings.Repeat("long ", 5000)},
	}
	want, err := (&prompb.WriteRequest{Metadata: families}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got := encodeMetadata1(nil, families); !bytes.Equal(want, got) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestMetadataOfSeries has families of which only some are known.
func TestMetadataOfSeries(t *testing.T) {
	counter := unique.Make(metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests.", Unit: "requests"})
	points := []point{
		{series: &series{logged: packed.Of(labels.FromStrings("__name__", "a", "__type__", "gauge", "__unit__", "m")), metadata: counter}},
		{series: &series{logged: packed.Of(labels.FromStrings("__name__", "b"))}},
		{series: &series{logged: packed.Of(labels.FromStrings("__name__", "c")), metadata: counter}},
	}
	for _, test := range []struct {
		byLabels bool
		want     []metadata.Metadata
	}{
		{false, []metadata.Metadata{counter.Value(), {Type: model.MetricTypeUnknown}, counter.Value()}},
		{true, []metadata.Metadata{{Type: model.MetricTypeGauge, Help: "Requests.", Unit: "m"}, {Type: model.MetricTypeUnknown}, {Type: model.MetricTypeUnknown, Help: "Requests."}}},
	} {
		var got []metadata.Metadata
		for _, s := range telling(t, decode2(t, newEncoder(true, encodeOptions{typeAndUnitLabels: test.byLabels}).encode(nil, points))) {
			got = append(got, metadata.Metadata{Type: s.Type, Help: s.Help, Unit: s.Unit})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("type and unit by labels %v, -want +got:\n%s", test.byLabels, diff)
		}
	}
}
