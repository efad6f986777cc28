// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"log/slog"

	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

// decoder makes batches and series of records. What it makes does not share
// memory with the record.
type decoder struct {
	record.Decoder

	series   []record.RefSeries
	metadata []record.RefMetadata
}

func newDecoder() *decoder {
	// What the library would say of skipped histograms is counted here.
	return &decoder{Decoder: record.NewDecoder(nil, slog.New(slog.DiscardHandler))}
}

// verdict is what is wrong with a record.
type verdict struct {
	reason string // empty when nothing is
	count  int
}

// batch decodes what is to be shipped into b; other records leave it empty.
func (d *decoder) batch(rec []byte, b *logged.Batch) (v verdict) {
	bad := verdict{reasonUndecodable, 1}
	defer func() {
		// The decoder checks a record less than its writer could have been wrong.
		if recover() != nil {
			b.Reset()
			v = bad
		}
	}()
	if len(rec) == 0 {
		return verdict{} // was never meant to hold anything
	}
	kind := d.Type(rec)
	histograms, ok := 0, true
	if kind != record.Series && kind != record.Metadata {
		histograms, ok = plausible(kind, rec)
	}
	if !ok || kind == record.Unknown {
		return bad
	}
	var err error
	switch kind {
	case record.Samples, record.SamplesV2:
		b.Samples, err = kept(b.Samples, rec, d.Samples)
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		b.Histograms, err = kept(b.Histograms, rec, d.HistogramSamples)
		histograms -= len(b.Histograms)
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		b.FloatHistograms, err = kept(b.FloatHistograms, rec, d.FloatHistogramSamples)
		histograms -= len(b.FloatHistograms)
	case record.Exemplars:
		b.Exemplars, err = kept(b.Exemplars, rec, d.Exemplars)
	default:
	}
	switch {
	case err != nil:
		return bad
	case histograms > 0:
		return verdict{reasonUnknownSchema, histograms}
	default:
		return verdict{}
	}
}

// kept decodes into the memory of into, which an error does not cost us.
func kept[T any](into []T, rec []byte, decode func([]byte, []T) ([]T, error)) ([]T, error) {
	got, err := decode(rec, into[:0])
	if err != nil {
		return into[:0], err
	}
	return got, nil
}

// describe decodes series and metadata; other records have none of them.
func (d *decoder) describe(rec []byte) (series []record.RefSeries, metadata []record.RefMetadata, ok bool) {
	defer func() {
		if recover() != nil {
			series, metadata, ok = nil, nil, false
		}
	}()
	if len(rec) == 0 {
		return nil, nil, true
	}
	kind := d.Type(rec)
	if kind != record.Series && kind != record.Metadata {
		return nil, nil, true
	}
	if _, ok := plausible(kind, rec); !ok {
		return nil, nil, false
	}
	clear(d.series)
	clear(d.metadata)
	var err error
	if kind == record.Series {
		d.series, err = kept(d.series, rec, d.Series)
		return d.series, nil, err == nil
	}
	d.metadata, err = kept(d.metadata, rec, d.Metadata)
	return nil, d.metadata, err == nil
}
