// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
)

// Point is one timestamp of one series.
type Point struct {
	Time      int64 // milliseconds
	Value     float64
	Histogram *histogram.FloatHistogram // nil for a float
	Count     int                       // how many times it came
}

// Stale says whether the point is a staleness marker.
func (p Point) Stale() bool {
	if p.Histogram != nil {
		return value.IsStaleNaN(p.Histogram.Sum)
	}
	return value.IsStaleNaN(p.Value)
}

// Series is everything that came for one set of labels.
type Series struct {
	Labels    labels.Labels
	Points    []Point // oldest first, each timestamp once
	Exemplars []exemplar.Exemplar
	Metadata  metadata.Metadata // the last one of remote write 2.0
}

// Values returns the float values without staleness markers, oldest first.
func (s Series) Values() []float64 {
	values := make([]float64, 0, len(s.Points))
	for _, p := range s.Points {
		if p.Histogram == nil && !p.Stale() {
			values = append(values, p.Value)
		}
	}
	return values
}

type book struct {
	series   map[string]*Series
	families map[string]metadata.Metadata
	samples  int // with repetitions
	disorder int // samples older than one that had come for the same series
}

func newBook() book {
	return book{series: map[string]*Series{}, families: map[string]metadata.Metadata{}}
}

func (b *book) add(in batch) {
	for _, s := range in.series {
		key := s.Labels.String()
		kept, ok := b.series[key]
		if !ok {
			kept = &Series{Labels: s.Labels.Copy()}
			b.series[key] = kept
		}
		for _, p := range s.Points {
			b.addPoint(kept, p)
		}
		kept.Exemplars = append(kept.Exemplars, s.Exemplars...)
		if !s.Metadata.IsEmpty() {
			kept.Metadata = s.Metadata
		}
	}
	maps.Copy(b.families, in.families)
}

func (b *book) addPoint(s *Series, p Point) {
	b.samples++
	i := len(s.Points)
	for i > 0 && s.Points[i-1].Time > p.Time {
		i--
	}
	if i < len(s.Points) {
		b.disorder++
	}
	if i > 0 && s.Points[i-1].Time == p.Time {
		s.Points[i-1].Count++
		return
	}
	s.Points = slices.Insert(s.Points, i, p)
}

func lower(s string) string { return strings.ToLower(s) }
