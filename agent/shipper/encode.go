// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// keepBytes is how much memory an encoder keeps from one request to the next.
const keepBytes = 4 << 20

// encodeOptions say how points leave to one destination.
type encodeOptions struct {
	added []addedLabel // by name
	// typeAndUnitLabels has Remote Write 2.0 take type and unit from the labels
	// __type__ and __unit__.
	typeAndUnitLabels bool
	// apart is up to how many points each of a request has a TimeSeries of its
	// own.
	apart int
	// numbers has Remote Write 2.0 remember how series followed one another. It is
	// the number that a series was given last. Of the encoders that have the same,
	// only the newest may be used.
	numbers *uint64
}

// encoder writes requests of one version of Remote Write. It uses its memory
// again and is not for two goroutines at once.
type encoder interface {
	// encode appends the request that holds points, not compressed. Points of
	// the same series that stand next to one another become one TimeSeries, but
	// in small requests; where samples and histograms follow one
	// another it ends, since the two must not be in one. Exemplars go with the
	// points of their series beside them.
	encode(dst []byte, points []point) []byte
	// exemplarsLeftOut counts those of the last request that had no point of
	// their series beside them, which Remote Write 2.0 has no place for.
	exemplarsLeftOut() int
}

// newEncoder makes an encoder of Remote Write 2.0 or 1.0.
func newEncoder(v2 bool, opts encodeOptions) encoder {
	if v2 {
		return &encoder2{opts: opts}
	}
	return &encoder1{opts: opts}
}

// fewPoints are sent in the order of the log, each in a TimeSeries of its own, as
// Prometheus sends all. More are grouped by series, which takes less room.
const fewPoints = 128

// run is how many of each kind one TimeSeries takes.
type run struct {
	samples, histograms, exemplars int
}

func (r run) points() int { return r.samples + r.histograms + r.exemplars }

// firstRun finds the points at the beginning of points that are one TimeSeries.
func firstRun(points []point, merge bool) run {
	var r run
	for i := range points {
		p := &points[i]
		switch {
		case !p.series.same(points[0].series):
			return r
		case !merge && !p.isExemplar() && i > 0:
			return r
		case p.other == nil:
			if r.histograms > 0 {
				return r
			}
			r.samples++
		case p.other.exemplar != nil:
			r.exemplars++
		default:
			if r.samples > 0 {
				return r
			}
			r.histograms++
		}
	}
	return r
}

// encodeMetadata1 appends the Remote Write 1.0 request that holds metadata.
func encodeMetadata1(dst []byte, families []prompb.MetricMetadata) []byte {
	for i := range families {
		f := &families[i]
		dst = append(dst, 0x1a, 0, 0)
		begin := len(dst)
		dst = appendInt(dst, 0x08, int64(f.Type))
		dst = appendText(dst, 0x12, f.MetricFamilyName)
		dst = appendText(dst, 0x22, f.Help)
		dst = appendText(dst, 0x2a, f.Unit)
		dst = closeMessage(dst, begin, 2)
	}
	return dst
}

// encoder1 writes Remote Write 1.0.
type encoder1 struct {
	opts   encodeOptions
	labels []labels.Label
}

func (*encoder1) exemplarsLeftOut() int { return 0 }

func (e *encoder1) encode(dst []byte, points []point) []byte {
	merge := len(points) > e.opts.apart
	for len(points) > 0 {
		r := firstRun(points, merge)
		dst = append(dst, 0x0a, 0, 0)
		begin := len(dst)
		e.labels = appendMerged(e.labels[:0], points[0].series, e.opts.added)
		for _, l := range e.labels {
			dst = appendLabel(dst, 0x0a, l)
		}
		dst = e.appendPoints(dst, points[:r.points()], r)
		dst = closeMessage(dst, begin, 2)
		points = points[r.points():]
	}
	clear(e.labels[:cap(e.labels)])
	return dst
}

// appendPoints appends what is of a run, field by field.
func (*encoder1) appendPoints(dst []byte, points []point, r run) []byte {
	if r.samples > 0 {
		for i := range points {
			if points[i].other == nil {
				dst = appendSample(dst, &points[i], false)
			}
		}
	}
	if r.exemplars > 0 {
		for i := range points {
			if points[i].isExemplar() {
				dst = appendExemplar1(dst, &points[i])
			}
		}
	}
	if r.histograms > 0 {
		for i := range points {
			if points[i].isHistogram() {
				dst = append(dst, 0x22, 0, 0)
				begin := len(dst)
				dst = closeMessage(appendHistogram(dst, &points[i], false), begin, 2)
			}
		}
	}
	return dst
}

// appendSample appends a sample; it has the same number in both versions.
func appendSample(dst []byte, p *point, startTimes bool) []byte {
	dst = append(dst, 0x12, 0)
	begin := len(dst)
	dst = appendDouble(dst, 0x09, p.v)
	dst = appendInt(dst, 0x10, p.t)
	if startTimes {
		dst = appendInt(dst, 0x18, p.st)
	}
	dst[begin-1] = byte(len(dst) - begin) // 31 at most
	return dst
}

func appendExemplar1(dst []byte, p *point) []byte {
	dst = append(dst, 0x1a, 0)
	begin := len(dst)
	p.other.exemplar.Labels.Range(func(l labels.Label) { dst = appendLabel(dst, 0x0a, l) })
	dst = appendDouble(dst, 0x11, p.other.exemplar.Value)
	dst = appendInt(dst, 0x18, p.t)
	return closeMessage(dst, begin, 1)
}
