// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"
)

// separator ends each name and each value in the key of a series; no UTF-8 has this byte.
const separator = 0xff

type point struct {
	time  int64
	value float64
}

// walker reads the series of a message one after the other. Its zero value can be used, and used again; what it hands out
// is good until it reads on.
type walker struct {
	key     []byte  // names and values of the labels as they come, each with a separator behind it
	points  []point // without staleness markers
	symbols [][]byte
	all     written
}

// numbers are those of the fields that a walker looks at, which differ by protocol.
type numbers struct{ symbol, series, labels, samples, histograms, exemplars protowire.Number }

// walk hands each series of the message out.
func (w *walker) walk(m message, each func(key []byte, points []point)) (written, error) {
	of := numbers{series: 1, labels: 1, samples: 2, exemplars: 3, histograms: 4}
	if m.protocol == ProtocolV2 {
		of = numbers{symbol: 4, series: 5, labels: 1, samples: 2, histograms: 3, exemplars: 4}
	}
	w.symbols, w.all = w.symbols[:0], written{}
	// The symbols may stand behind the series that refer to them.
	err := fields(m.body, func(n protowire.Number, value []byte, _ uint64) error {
		if n == of.symbol {
			w.symbols = append(w.symbols, value)
		}
		return nil
	})
	if err == nil {
		err = fields(m.body, func(n protowire.Number, value []byte, _ uint64) error {
			if n != of.series {
				return nil // A symbol, or metadata.
			}
			if err := w.one(of, value); err != nil {
				return err
			}
			each(w.key, w.points)
			return nil
		})
	}
	if err != nil {
		return w.all, fmt.Errorf("decode %s: %w", m.protocol, err)
	}
	return w.all, nil
}

// one reads one series.
func (w *walker) one(of numbers, series []byte) error {
	w.key, w.points = w.key[:0], w.points[:0]
	return fields(series, func(n protowire.Number, value []byte, number uint64) error {
		switch n {
		case of.labels:
			switch {
			case of.symbol == 0:
				return w.label(value)
			case value == nil:
				return w.reference(number)
			default:
				return w.references(value)
			}
		case of.samples:
			w.all.samples++
			return w.sample(value)
		case of.histograms:
			w.all.histograms++
		case of.exemplars:
			w.all.exemplars++
		default: // Metadata.
		}
		return nil
	})
}

// label reads a label of remote write 1.0.
func (w *walker) label(label []byte) error {
	var name, text []byte
	err := fields(label, func(n protowire.Number, value []byte, _ uint64) error {
		if n == 1 {
			name = value
		} else {
			text = value
		}
		return nil
	})
	w.key = append(append(w.key, name...), separator)
	w.key = append(append(w.key, text...), separator)
	return err
}

// references reads the labels of a series of remote write 2.0.
func (w *walker) references(packed []byte) error {
	for len(packed) > 0 {
		number, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := w.reference(number); err != nil {
			return err
		}
		packed = packed[size:]
	}
	return nil
}

func (w *walker) reference(number uint64) error {
	if number >= uint64(len(w.symbols)) {
		return fmt.Errorf("a label refers to symbol %d of %d", number, len(w.symbols))
	}
	w.key = append(append(w.key, w.symbols[number]...), separator)
	return nil
}

func (w *walker) sample(sample []byte) error {
	var p point
	err := fields(sample, func(n protowire.Number, _ []byte, number uint64) error {
		switch n {
		case 1:
			p.value = math.Float64frombits(number)
		case 2:
			p.time = int64(number) // It is how protobuf writes a number below 0, too.
		default: // The time of the start.
		}
		return nil
	})
	if !value.IsStaleNaN(p.value) {
		w.points = append(w.points, p)
	}
	return err
}

// fields hands the fields of a protobuf message out: bytes, or else a number.
func fields(message []byte, each func(n protowire.Number, value []byte, number uint64) error) error {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		var (
			value  []byte
			number uint64
		)
		switch kind {
		case protowire.BytesType:
			if value, size = protowire.ConsumeBytes(message); size >= 0 && value == nil {
				value = []byte{}
			}
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(message)
		default:
			return errors.New("a field has a type that remote write does not have")
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		if err := each(n, value, number); err != nil {
			return err
		}
	}
	return nil
}
