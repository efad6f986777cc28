// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"

	"torchbearer/agent/packed"
)

// classicForm is what is known of a series with custom buckets, which may leave
// as classic series.
type classicForm struct {
	bounds []float64 // of the buckets answered last; nil is that it has ended
	// series are those it leaves as, by the settings of a version.
	version uint16
	series  map[classicName]*series
}

// maxClassic bounds the series that one is remembered as: bounds may change.
const maxClassic = 1000

// countSuffix is of the classic series by which a histogram counts.
const countSuffix = "_count"

type classicName struct {
	suffix string
	bound  float64
}

// classicBounds are the bounds of series after the points of a request. They
// become those of the series when the request is answered: it may have to be
// made again.
type classicBounds map[*series][]float64

func (c classicBounds) of(s *series) []float64 {
	if bounds, ok := c[s]; ok || s.classic() == nil {
		return bounds
	}
	return s.classic().bounds
}

func (c classicBounds) keep() {
	for s, bounds := range c {
		s.toClassic().bounds = bounds
	}
}

// appendConverted appends a point as convert_nhcb_to_classic wants it: a
// histogram with custom buckets as classic series, and a staleness marker, or a
// sample, that follows one as the end of those. It says false of what stays as
// it is. Of what cannot be converted nothing is appended.
func (s *settings) appendConverted(to []point, p *point, now classicBounds) ([]point, bool) {
	if !s.convert || p.isExemplar() {
		return to, false
	}
	was := now.of(p.series)
	if p.other == nil {
		if was == nil {
			return to, false
		}
		now[p.series] = nil
		gone := &histogram.Histogram{
			Schema: histogram.CustomBucketsSchema, CustomValues: was, Sum: math.Float64frombits(promvalue.StaleNaN),
		}
		if promvalue.IsStaleNaN(p.v) {
			return s.classic(to, p, gone, p.st), true
		}
		return append(s.classic(to, p, gone, 0), *p), true // It has become another type.
	}
	if !p.customBuckets() {
		return to, false
	}
	custom, bounds, sum := p.custom()
	to = s.classic(to, p, custom, p.st)
	for _, bound := range was {
		if !slices.Contains(bounds, bound) {
			to = append(to, point{
				series: s.classicSeries(p.series, classicName{"_bucket", bound}), t: p.t, v: math.Float64frombits(promvalue.StaleNaN),
			})
		}
	}
	if promvalue.IsStaleNaN(sum) {
		bounds = nil
	} else if bounds == nil {
		bounds = []float64{} // Only +Inf is a bucket all the same.
	}
	now[p.series] = bounds
	return to, true
}

// custom returns a histogram with its bounds and sum.
func (p *point) custom() (h any, bounds []float64, sum float64) {
	if h := p.other.histogram; h != nil {
		return h, h.CustomValues, h.Sum
	}
	fh := p.other.floatHistogram
	return fh, fh.CustomValues, fh.Sum
}

// classic appends the samples of the classic series of a histogram.
func (s *settings) classic(to []point, p *point, custom any, st int64) []point {
	buckets, count, sum, err := histogram.ClassicBucketCounts(custom, nil)
	if err != nil || p.series.labels().Get(model.MetricNameLabel) == "" {
		return to
	}
	var bounds []float64
	switch h := custom.(type) {
	case *histogram.Histogram:
		bounds = h.CustomValues
	case *histogram.FloatHistogram:
		bounds = h.CustomValues
	}
	add := func(name classicName, v float64) {
		to = append(to, point{series: s.classicSeries(p.series, name), t: p.t, st: st, v: v})
	}
	for i, n := range buckets {
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = bounds[i]
		}
		add(classicName{"_bucket", bound}, n)
	}
	add(classicName{suffix: countSuffix}, count)
	add(classicName{suffix: "_sum"}, sum)
	return to
}

func (s *settings) classicSeries(of *series, name classicName) *series {
	form := of.toClassic()
	if form.version != s.version || form.series == nil || len(form.series) > maxClassic {
		form.version, form.series = s.version, map[classicName]*series{}
	}
	if known := form.series[name]; known != nil {
		return known
	}
	b := labels.NewBuilder(of.labels().Labels())
	b.Set(model.MetricNameLabel, of.labels().Get(model.MetricNameLabel)+name.suffix)
	if name.suffix == "_bucket" {
		b.Set(model.BucketLabel, labels.FormatOpenMetricsFloat(name.bound))
	}
	ls := b.Labels()
	made := &series{logged: packed.Of(ls), metadata: of.metadata}
	if of.complete {
		made.leaveAs(made.logged)
	}
	made.part = name.suffix != countSuffix
	form.series[name] = made
	return made
}
