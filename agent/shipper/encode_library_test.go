// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/schema"
)

// leaving are the labels of a series by the library's builder.
func leaving(s *series, added []addedLabel) labels.Labels {
	if s.complete {
		return s.labels().Labels()
	}
	b := labels.NewBuilder(s.logged.Labels())
	for _, l := range added {
		if l.force || b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	}
	return b.Labels()
}

// byLibrary1 is the request as storage/remote fills it, but that points of a
// series which follow one another are one TimeSeries.
func byLibrary1(points []point, added []addedLabel) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	var ts *prompb.TimeSeries
	for i, p := range points {
		if i == 0 || p.series != points[i-1].series || !p.isExemplar() && (p.isHistogram() && len(ts.Samples) > 0 || !p.isHistogram() && len(ts.Histograms) > 0) {
			req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: prompb.FromLabels(leaving(p.series, added), nil)})
			ts = &req.Timeseries[len(req.Timeseries)-1]
		}
		switch {
		case p.other == nil:
			ts.Samples = append(ts.Samples, prompb.Sample{Value: p.v, Timestamp: p.t})
		case p.other.exemplar != nil:
			e := p.other.exemplar
			ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: prompb.FromLabels(e.Labels, nil), Value: e.Value, Timestamp: e.Ts})
		case p.other.histogram != nil:
			ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(p.t, p.other.histogram))
		default:
			ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(p.t, p.other.floatHistogram))
		}
	}
	return req
}

// byLibrary2 is byLibrary1 for Remote Write 2.0, and how many exemplars have no
// TimeSeries to go with.
func byLibrary2(points []point, opts encodeOptions) (*writev2.Request, int) {
	req, leftOut := &writev2.Request{}, 0
	table := writev2.NewSymbolTable()
	for _, of := range byLibrary1(points, nil).Timeseries {
		n := len(of.Samples) + len(of.Histograms) + len(of.Exemplars)
		if n == len(of.Exemplars) {
			leftOut += n
		} else {
			req.Timeseries = append(req.Timeseries, seriesByLibrary2(&table, points[:n], opts))
		}
		points = points[n:]
	}
	req.Symbols = table.Symbols()
	return req, leftOut
}

func seriesByLibrary2(table *writev2.SymbolsTable, points []point, opts encodeOptions) writev2.TimeSeries {
	s := points[0].series
	ls := leaving(s, opts.added)
	ts := writev2.TimeSeries{LabelsRefs: table.SymbolizeLabels(ls, nil)}
	var m metadata.Metadata
	if !metadata.IsZeroHandle(s.metadata) {
		m = s.metadata.Value()
	}
	if opts.typeAndUnitLabels {
		fromLabels := schema.NewMetadataFromLabels(ls)
		m.Type, m.Unit = fromLabels.Type, fromLabels.Unit
	}
	ts.Metadata = writev2.Metadata{
		Type: writev2.FromMetadataType(m.Type), HelpRef: table.Symbolize(m.Help), UnitRef: table.Symbolize(m.Unit),
	}
	for _, p := range points {
		switch {
		case p.other == nil:
			ts.Samples = append(ts.Samples, writev2.Sample{Value: p.v, Timestamp: p.t, StartTimestamp: p.st})
		case p.other.exemplar != nil:
			e := p.other.exemplar
			ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{LabelsRefs: table.SymbolizeLabels(e.Labels, nil), Value: e.Value, Timestamp: e.Ts})
		case p.other.histogram != nil:
			ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(p.st, p.t, p.other.histogram))
		default:
			ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(p.st, p.t, p.other.floatHistogram))
		}
	}
	return ts
}

// told is a TimeSeries of Remote Write 2.0 with its strings in place.
type told struct {
	Labels         []string
	Samples        []writev2.Sample
	Histograms     []writev2.Histogram
	Exemplars      []writev2.Exemplar
	ExemplarLabels [][]string
	Type           model.MetricType
	Help, Unit     string
}

// telling puts the strings of a request in place.
func telling(t *testing.T, req *writev2.Request) []told {
	t.Helper()
	resolve := func(refs []uint32) []string {
		if len(refs)%2 != 0 {
			t.Errorf("%d references to names and values", len(refs))
		}
		var all []string
		for _, ref := range refs {
			if int(ref) >= len(req.Symbols) {
				t.Fatalf("reference %d to a table of %d", ref, len(req.Symbols))
			}
			all = append(all, req.Symbols[ref])
		}
		return all
	}
	var all []told
	for _, ts := range req.Timeseries {
		m, err := ts.ToMetadata(req.Symbols)
		if err != nil {
			t.Fatal(err)
		}
		of := told{
			Labels: resolve(ts.LabelsRefs), Samples: ts.Samples, Histograms: ts.Histograms, Exemplars: ts.Exemplars,
			Type: m.Type, Help: m.Help, Unit: m.Unit,
		}
		for i := range ts.Exemplars {
			of.ExemplarLabels = append(of.ExemplarLabels, resolve(ts.Exemplars[i].LabelsRefs))
			ts.Exemplars[i].LabelsRefs = nil
		}
		all = append(all, of)
	}
	return all
}
