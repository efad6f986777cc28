// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// The messages that a request may carry, as its Content-Type names them.
const (
	ProtocolV1 = "prometheus.WriteRequest"
	ProtocolV2 = "io.prometheus.write.v2.Request"
)

// A batch is the content of one request.
type batch struct {
	protocol string
	series   []Series
	families map[string]metadata.Metadata // remote write 1.0 sends metadata by metric family
}

// written counts as the response headers of remote write 2.0 do.
func (b batch) written() (samples, histograms, exemplars int) {
	for _, s := range b.series {
		exemplars += len(s.Exemplars)
		for _, p := range s.Points {
			if p.Histogram != nil {
				histograms++
			} else {
				samples++
			}
		}
	}
	return samples, histograms, exemplars
}

// errGone is of a request whose sender has ended, or was killed, while it sent: nothing is wrong with what it made.
var errGone = errors.New("read the body")

// A message is the content of one request as it came.
type message struct {
	protocol string
	body     []byte // decompressed
	wire     int    // bytes of it on the wire
}

// unpack reads a request. The wire's bytes are told of one that is wrong, too.
func unpack(req *http.Request) (message, error) {
	compressed, err := io.ReadAll(req.Body)
	m := message{protocol: ProtocolV1, wire: len(compressed)}
	if err != nil {
		return m, fmt.Errorf("%w: %w", errGone, err)
	}
	mediaType, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-protobuf" {
		return m, fmt.Errorf("content type is %q, not application/x-protobuf", req.Header.Get("Content-Type"))
	}
	if params["proto"] == ProtocolV2 {
		m.protocol = ProtocolV2
	}
	m.body, err = decompress(req.Header.Get("Content-Encoding"), compressed)
	return m, err
}

// decompress takes zstd beside what the standard has: vmagent sends the message of remote write 1.0 so, and does with
// snappy after a first answer of 400 or 415 only.
func decompress(encoding string, compressed []byte) (body []byte, err error) {
	switch encoding {
	case "snappy":
		body, err = snappy.Decode(nil, compressed)
	case "zstd":
		var decoder *zstd.Decoder
		if decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1)); err != nil {
			return nil, fmt.Errorf("make a decoder of zstd: %w", err)
		}
		defer decoder.Close()
		body, err = decoder.DecodeAll(compressed, nil)
	default:
		return nil, fmt.Errorf("content encoding is %q, neither snappy nor zstd", encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress the body: %w", err)
	}
	return body, nil
}

func decode(req *http.Request) (batch, error) {
	m, err := unpack(req)
	switch {
	case err != nil:
		return batch{}, err
	case m.protocol == ProtocolV2:
		return decodeV2(m.body)
	default:
		return decodeV1(m.body)
	}
}

func decodeV1(body []byte) (batch, error) {
	var message prompb.WriteRequest
	if err := message.Unmarshal(body); err != nil {
		return batch{}, fmt.Errorf("decode %s: %w", ProtocolV1, err)
	}
	out := batch{protocol: ProtocolV1, families: map[string]metadata.Metadata{}}
	b := labels.NewScratchBuilder(0)
	for _, ts := range message.Timeseries {
		s := Series{Labels: ts.ToLabels(&b, nil)}
		for _, sample := range ts.Samples {
			s.Points = append(s.Points, Point{Time: sample.Timestamp, Value: sample.Value, Count: 1})
		}
		for _, h := range ts.Histograms {
			s.Points = append(s.Points, Point{Time: h.Timestamp, Histogram: h.ToFloatHistogram(), Count: 1})
		}
		for _, e := range ts.Exemplars {
			s.Exemplars = append(s.Exemplars, e.ToExemplar(&b, nil))
		}
		out.series = append(out.series, s)
	}
	for _, m := range message.Metadata {
		out.families[m.MetricFamilyName] = metadata.Metadata{
			Type: model.MetricType(lower(m.Type.String())), Unit: m.Unit, Help: m.Help,
		}
	}
	return out, nil
}

func decodeV2(body []byte) (batch, error) {
	var message writev2.Request
	if err := message.Unmarshal(body); err != nil {
		return batch{}, fmt.Errorf("decode %s: %w", ProtocolV2, err)
	}
	if len(message.Symbols) == 0 || message.Symbols[0] != "" {
		return batch{}, fmt.Errorf("decode %s: the first symbol is not the empty string", ProtocolV2)
	}
	out := batch{protocol: ProtocolV2}
	b := labels.NewScratchBuilder(0)
	for _, ts := range message.Timeseries {
		s, err := seriesV2(ts, &b, message.Symbols)
		if err != nil {
			return batch{}, fmt.Errorf("decode %s: %w", ProtocolV2, err)
		}
		out.series = append(out.series, s)
	}
	return out, nil
}

func seriesV2(ts writev2.TimeSeries, b *labels.ScratchBuilder, symbols []string) (Series, error) {
	var (
		s   Series
		err error
	)
	if s.Labels, err = ts.ToLabels(b, symbols); err != nil {
		return s, err
	}
	if s.Metadata, err = ts.ToMetadata(symbols); err != nil {
		return s, err
	}
	for _, sample := range ts.Samples {
		s.Points = append(s.Points, Point{Time: sample.Timestamp, Value: sample.Value, Count: 1})
	}
	for _, h := range ts.Histograms {
		s.Points = append(s.Points, Point{Time: h.Timestamp, Histogram: h.ToFloatHistogram(), Count: 1})
	}
	for _, e := range ts.Exemplars {
		var decoded exemplar.Exemplar
		if decoded, err = e.ToExemplar(b, symbols); err != nil {
			return s, err
		}
		s.Exemplars = append(s.Exemplars, decoded)
	}
	return s, nil
}
