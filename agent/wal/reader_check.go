// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/record"
)

// The decoder of the library trusts the counts in a record: one that says it
// has 2^40 labels makes it loop, and one with 2^40 buckets makes it allocate.
// plausible walks a record without allocating and says whether its counts fit
// into its length, and how many histograms it has.
func plausible(kind record.Type, rec []byte) (histograms int, ok bool) {
	w := walk{b: rec[1:]}
	switch kind {
	case record.Series:
		for w.more() {
			w.skip(8)
			w.labels()
		}
	case record.Metadata:
		for w.more() {
			w.varint()
			w.skip(1)
			for range w.count(2) {
				w.skip(w.count(1))
				w.skip(w.count(1))
			}
		}
	case record.Exemplars:
		if w.more() {
			w.skip(16)
		}
		for w.more() {
			w.varint()
			w.varint()
			w.skip(8)
			w.labels()
		}
	case record.HistogramSamples, record.CustomBucketsHistogramSamples,
		record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples:
		if w.more() {
			w.skip(16)
		}
		for ; w.more(); histograms++ {
			w.varint()
			w.varint()
			w.histogram(kind == record.FloatHistogramSamples || kind == record.CustomBucketsFloatHistogramSamples)
		}
	case record.HistogramSamplesV2, record.FloatHistogramSamplesV2:
		for ; w.more(); histograms++ {
			w.varint()
			w.varint()
			w.startTimestamp(histograms == 0)
			w.histogram(kind == record.FloatHistogramSamplesV2)
		}
	default:
	}
	return histograms, !w.bad
}

// walk is a record on the way through it.
type walk struct {
	b   []byte
	bad bool
}

func (w *walk) more() bool { return len(w.b) > 0 && !w.bad }

func (w *walk) skip(n int) {
	if n > len(w.b) {
		w.bad = true
		w.b = nil
		return
	}
	w.b = w.b[n:]
}

func (w *walk) varint() uint64 {
	x, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.bad = true
		w.b = nil
		return 0
	}
	w.b = w.b[n:]
	return x
}

// count reads how many things of at least size bytes follow.
func (w *walk) count(size int) int {
	n := w.varint()
	if n > uint64(len(w.b)/size) {
		w.bad = true
		w.b = nil
		return 0
	}
	return int(n)
}

func (w *walk) labels() {
	for range w.count(2) {
		w.skip(w.count(1))
		w.skip(w.count(1))
	}
}

func (w *walk) startTimestamp(first bool) {
	const explicit = 2 // as any other that is not 0 or 1
	if first {
		w.varint()
		return
	}
	if !w.more() {
		w.bad = true
		return
	}
	mark := w.b[0]
	w.skip(1)
	if mark >= explicit {
		w.varint()
	}
}

func (w *walk) histogram(float bool) {
	w.skip(1) // counter reset hint
	schema := w.varint()
	schema = schema>>1 ^ -(schema & 1)
	w.skip(8) // zero threshold
	if float {
		w.skip(8 + 8) // zero count, count
	} else {
		w.varint()
		w.varint()
	}
	w.skip(8) // sum
	for range 2 {
		for range w.count(2) { // spans
			w.varint()
			w.varint()
		}
	}
	for range 2 { // buckets
		if float {
			w.skip(8 * w.count(8))
			continue
		}
		for range w.count(1) {
			w.varint()
		}
	}
	if histogram.IsCustomBucketsSchema(int32(schema)) {
		w.skip(8 * w.count(8))
	}
}
