// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
)

// appendConverted appends a point as convert_nhcb_to_classic wants it: a
// histogram with custom buckets as classic series, and a staleness marker, or a
// sample, that follows one as the end of those. It says false of what stays as
// it is. Of what cannot be converted nothing is appended.
func (s *settings) appendConverted(to []point, p *point) ([]point, bool) {
	if !s.convert || p.isExemplar() {
		return to, false
	}
	was := p.series.bounds
	if p.other == nil {
		if was == nil {
			return to, false
		}
		p.series.bounds = nil
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
	var (
		bounds []float64
		custom any
		stale  bool
	)
	if h := p.other.histogram; h != nil {
		bounds, custom, stale = h.CustomValues, h, promvalue.IsStaleNaN(h.Sum)
	} else {
		h := p.other.floatHistogram
		bounds, custom, stale = h.CustomValues, h, promvalue.IsStaleNaN(h.Sum)
	}
	to = s.classic(to, p, custom, p.st)
	for _, bound := range was {
		if !slices.Contains(bounds, bound) {
			to = append(to, point{
				series: s.classicSeries(p.series, "_bucket", &bound), t: p.t, v: math.Float64frombits(promvalue.StaleNaN),
			})
		}
	}
	if p.series.bounds = bounds; stale {
		p.series.bounds = nil
	} else if bounds == nil {
		p.series.bounds = []float64{} // Only +Inf is a bucket all the same.
	}
	return to, true
}

// classic appends the samples of the classic series of a histogram.
func (s *settings) classic(to []point, p *point, custom any, st int64) []point {
	buckets, count, sum, err := histogram.ClassicBucketCounts(custom, nil)
	if err != nil || p.series.labels.Get(model.MetricNameLabel) == "" {
		return to
	}
	var bounds []float64
	switch h := custom.(type) {
	case *histogram.Histogram:
		bounds = h.CustomValues
	case *histogram.FloatHistogram:
		bounds = h.CustomValues
	}
	add := func(of *series, v float64) { to = append(to, point{series: of, t: p.t, st: st, v: v}) }
	for i, n := range buckets {
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = bounds[i]
		}
		add(s.classicSeries(p.series, "_bucket", &bound), n)
	}
	add(s.classicSeries(p.series, "_count", nil), count)
	add(s.classicSeries(p.series, "_sum", nil), sum)
	return to
}

func (s *settings) classicSeries(of *series, suffix string, bound *float64) *series {
	b := labels.NewBuilder(of.labels)
	b.Set(model.MetricNameLabel, of.labels.Get(model.MetricNameLabel)+suffix)
	if bound != nil {
		b.Set(model.BucketLabel, labels.FormatOpenMetricsFloat(*bound))
	}
	return &series{labels: b.Labels(), complete: of.complete, metadata: of.metadata}
}
