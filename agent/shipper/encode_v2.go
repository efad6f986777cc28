// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// tagSymbols is before each string of the table of a request.
const tagSymbols = 0x22

// encoder2 writes Remote Write 2.0. The strings stand before the series that
// refer to them: receivers that decode as they read need that.
type encoder2 struct {
	opts    encodeOptions
	symbols symbols
	series  []byte
	leftOut int
}

// familyRefs is the metadata of a series as it is written.
type familyRefs struct {
	kind       writev2.Metadata_MetricType
	help, unit uint32
}

func (e *encoder2) exemplarsLeftOut() int { return e.leftOut }

func (e *encoder2) encode(dst []byte, points []point) []byte {
	e.leftOut = 0
	e.symbols.begin(dst, e.opts)
	merge := len(points) > e.opts.apart
	for len(points) > 0 {
		r := firstRun(points, merge)
		if r.points() == r.exemplars {
			e.leftOut += r.exemplars
		} else {
			e.appendSeries(points[:r.points()], r)
		}
		points = points[r.points():]
	}
	dst = append(e.symbols.end(), e.series...)
	e.series = e.series[:0]
	if cap(e.series) > keepBytes {
		e.series = nil
	}
	return dst
}

func (e *encoder2) appendSeries(points []point, r run) {
	of := points[0].series
	dst := e.series
	dst = append(dst, 0x2a, 0)
	begin := len(dst)
	dst = append(dst, 0x0a, 0)
	refs := len(dst)
	dst = e.symbols.appendSeriesRefs(dst, of)
	if len(dst) == refs {
		dst = dst[:begin]
	} else {
		dst = closeMessage(dst, refs, 1)
	}
	if r.samples > 0 {
		for i := range points {
			if points[i].other == nil {
				dst = appendSample(dst, &points[i], true)
			}
		}
	}
	if r.histograms > 0 {
		for i := range points {
			if points[i].isHistogram() {
				dst = append(dst, 0x1a, 0, 0)
				histogram := len(dst)
				dst = closeMessage(appendHistogram(dst, &points[i], true), histogram, 2)
			}
		}
	}
	if r.exemplars > 0 {
		for i := range points {
			if points[i].isExemplar() {
				dst = e.appendExemplar(dst, &points[i])
			}
		}
	}
	dst = appendFamily(dst, e.family(of))
	e.series = closeMessage(dst, begin, 1)
}

func (e *encoder2) appendExemplar(dst []byte, p *point) []byte {
	dst = append(dst, 0x22, 0)
	begin := len(dst)
	if !p.other.exemplar.Labels.IsEmpty() {
		dst = append(dst, 0x0a, 0)
		refs := len(dst)
		p.other.exemplar.Labels.Range(func(l labels.Label) {
			dst = appendVarint(dst, uint64(e.symbols.ref(l.Name)))
			dst = appendVarint(dst, uint64(e.symbols.ref(l.Value)))
		})
		dst = closeMessage(dst, refs, 1)
	}
	dst = appendDouble(dst, 0x11, p.other.exemplar.Value)
	dst = appendInt(dst, 0x18, p.t)
	return closeMessage(dst, begin, 1)
}

// family is the metadata of a series; of the one whose labels were written last.
func (e *encoder2) family(of *series) familyRefs {
	known := !metadata.IsZeroHandle(of.metadata)
	if known && of.metadata != e.symbols.metadata {
		m := of.metadata.Value()
		e.symbols.metadata = of.metadata
		e.symbols.family = familyRefs{
			kind: writev2.FromMetadataType(m.Type), help: e.symbols.ref(m.Help),
		}
		if !e.opts.typeAndUnitLabels {
			e.symbols.family.unit = e.symbols.ref(m.Unit)
		}
	}
	var f familyRefs
	if known {
		f = e.symbols.family
	}
	if e.opts.typeAndUnitLabels {
		f.kind, f.unit = writev2.Metadata_METRIC_TYPE_UNSPECIFIED, 0
		for i := range e.symbols.before {
			switch l := &e.symbols.before[i]; l.Name {
			case model.MetricTypeLabel:
				f.kind = writev2.FromMetadataType(model.MetricType(l.Value))
			case model.MetricUnitLabel:
				f.unit = e.symbols.ref(l.Value)
			default:
			}
		}
	}
	return f
}

func appendFamily(dst []byte, f familyRefs) []byte {
	if f == (familyRefs{}) {
		return dst
	}
	dst = append(dst, 0x2a, 0)
	begin := len(dst)
	dst = appendInt(dst, 0x08, int64(f.kind))
	dst = appendInt(dst, 0x18, int64(f.help))
	dst = appendInt(dst, 0x20, int64(f.unit))
	dst[begin-1] = byte(len(dst) - begin) // 14 at most
	return dst
}
