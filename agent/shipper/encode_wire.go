// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// appendVarint appends v in groups of seven bits, the lowest first.
func appendVarint(dst []byte, v uint64) []byte {
	for v >= 1<<7 {
		dst = append(dst, byte(v)|1<<7)
		v >>= 7
	}
	return append(dst, byte(v))
}

// appendInt appends a field unless v is 0, its default.
func appendInt(dst []byte, tag byte, v int64) []byte {
	if v == 0 {
		return dst
	}
	return appendVarint(append(dst, tag), uint64(v))
}

// appendDouble appends a field unless v is 0, its default. -0 is not 0: gogo's
// generated code loses that sign, the protobuf specification has it kept.
func appendDouble(dst []byte, tag byte, v float64) []byte {
	if math.Float64bits(v) == 0 {
		return dst
	}
	return appendFixed(dst, tag, v)
}

func appendFixed(dst []byte, tag byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, tag), math.Float64bits(v))
}

func appendString(dst []byte, tag byte, s string) []byte {
	return append(appendVarint(append(dst, tag), uint64(len(s))), s...)
}

// appendText appends a field unless s is empty, its default.
func appendText(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(dst, tag, s)
}

// appendLabel appends a message of a name and a value.
func appendLabel(dst []byte, tag byte, l labels.Label) []byte {
	if l.Name != "" && l.Value != "" && len(l.Name)+len(l.Value) < 1<<7-4 {
		// By far the most are so short that each length is one byte.
		dst = append(dst, tag, byte(4+len(l.Name)+len(l.Value)), 0x0a, byte(len(l.Name)))
		dst = append(append(dst, l.Name...), 0x12, byte(len(l.Value)))
		return append(dst, l.Value...)
	}
	dst = appendVarint(append(dst, tag), uint64(textSize(l.Name)+textSize(l.Value)))
	return appendText(appendText(dst, 0x0a, l.Name), 0x12, l.Value)
}

func textSize(s string) int {
	if s == "" {
		return 0
	}
	return 1 + varintSize(len(s)) + len(s)
}

func varintSize(v int) int {
	size := 1
	for ; v >= 1<<7; v >>= 7 {
		size++
	}
	return size
}

// appendSpans appends each span as a message.
func appendSpans(dst []byte, tag byte, spans []histogram.Span) []byte {
	for _, s := range spans {
		dst = append(dst, tag, 0)
		begin := len(dst)
		dst = appendInt(dst, 0x08, int64(zigzag32(s.Offset)))
		dst = appendInt(dst, 0x10, int64(s.Length))
		dst[begin-1] = byte(len(dst) - begin) // 12 at most
	}
	return dst
}

// appendDeltas appends a packed field of zigzag numbers.
func appendDeltas(dst []byte, tag byte, deltas []int64) []byte {
	if len(deltas) == 0 {
		return dst
	}
	dst = append(dst, tag, 0, 0)
	begin := len(dst)
	for _, d := range deltas {
		dst = appendVarint(dst, uint64(d)<<1^uint64(d>>63))
	}
	return closeMessage(dst, begin, 2)
}

// appendDoubles appends a packed field of numbers.
func appendDoubles(dst []byte, field int, values []float64) []byte {
	if len(values) == 0 {
		return dst
	}
	dst = appendVarint(dst, uint64(field)<<3|2)
	dst = appendVarint(dst, uint64(len(values))*8)
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

func zigzag32(v int32) uint32 { return uint32(v)<<1 ^ uint32(v>>31) }

// closeMessage writes the length of what lies from begin on before it, where
// room bytes wait for it, and moves it when the length takes more or fewer.
func closeMessage(dst []byte, begin, room int) []byte {
	size := len(dst) - begin
	need := varintSize(size)
	if need > room {
		var more [binary.MaxVarintLen64]byte
		dst = append(dst, more[:need-room]...)
	}
	if need != room {
		copy(dst[begin-room+need:], dst[begin:begin+size])
		dst = dst[:begin-room+need+size]
	}
	binary.PutUvarint(dst[begin-room:], uint64(size))
	return dst
}
