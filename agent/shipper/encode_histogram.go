// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"github.com/prometheus/prometheus/model/histogram"
)

// appendHistogram appends the fields of a histogram, which are the same in both
// versions of Remote Write, but that only 2.0 has start times.
func appendHistogram(dst []byte, p *point, startTimes bool) []byte {
	var custom []float64
	var hint histogram.CounterResetHint
	if h := p.other.histogram; h != nil {
		dst = appendVarint(append(dst, 0x08), h.Count)
		dst = appendShape(dst, h.Sum, h.Schema, h.ZeroThreshold)
		dst = appendVarint(append(dst, 0x30), h.ZeroCount)
		dst = appendSpans(dst, 0x42, h.NegativeSpans)
		dst = appendDeltas(dst, 0x4a, h.NegativeBuckets)
		dst = appendSpans(dst, 0x5a, h.PositiveSpans)
		dst = appendDeltas(dst, 0x62, h.PositiveBuckets)
		hint, custom = h.CounterResetHint, h.CustomValues
	} else {
		h := p.other.floatHistogram
		dst = appendFixed(dst, 0x11, h.Count)
		dst = appendShape(dst, h.Sum, h.Schema, h.ZeroThreshold)
		dst = appendFixed(dst, 0x39, h.ZeroCount)
		dst = appendSpans(dst, 0x42, h.NegativeSpans)
		dst = appendDoubles(dst, 10, h.NegativeBuckets)
		dst = appendSpans(dst, 0x5a, h.PositiveSpans)
		dst = appendDoubles(dst, 13, h.PositiveBuckets)
		hint, custom = h.CounterResetHint, h.CustomValues
	}
	dst = appendInt(dst, 0x70, int64(hint))
	dst = appendInt(dst, 0x78, p.t)
	dst = appendDoubles(dst, 16, custom)
	if startTimes && p.st != 0 {
		dst = appendVarint(append(dst, 0x88, 0x01), uint64(p.st))
	}
	return dst
}

func appendShape(dst []byte, sum float64, schema int32, zeroThreshold float64) []byte {
	dst = appendDouble(dst, 0x19, sum)
	dst = appendInt(dst, 0x20, int64(zigzag32(schema)))
	return appendDouble(dst, 0x29, zeroThreshold)
}
