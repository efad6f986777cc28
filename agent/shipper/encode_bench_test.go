// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"unique"

	"github.com/gogo/protobuf/proto"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"torchbearer/agent/packed"
)

// scraped are points as scrapes of a few targets bring them: ten labels, and
// twelve series of a histogram or of one counter's labels follow one another.
func scraped(n int) []point {
	les := []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}
	points := make([]point, n)
	var packer packed.Packer
	for i := range points {
		family := i / len(les) % 60
		m := metadata.Metadata{Type: model.MetricTypeHistogram, Help: fmt.Sprintf("How long requests of kind %d take.", family), Unit: "seconds"}
		points[i] = point{t: 1_700_000_000_123, v: float64(i) * 1.5, series: &series{
			metadata: unique.Make(m),
			logged: packer.Pack(labels.FromStrings(
				"__name__", fmt.Sprintf("http_request_duration_seconds_%d_bucket", family), "container", "torchbearer",
				"endpoint", "metrics", "instance", fmt.Sprintf("10.0.0.%d:9090", i/720), "job", "kubernetes-pods",
				"le", les[i%len(les)], "namespace", "monitoring", "pod", fmt.Sprintf("torchbearer-%d-x7k2p", i/720))),
		}}
	}
	return points
}

// exported are points as scrapes of exporters bring them: families of a few series
// each, with labels of their own.
func exported(n int) []point {
	points := make([]point, 0, n)
	var packer packed.Packer
	add := func(target, family int, name string, own ...string) {
		if len(points) == n {
			return
		}
		b := labels.NewBuilder(labels.FromStrings(own...))
		b.Set("__name__", fmt.Sprintf("load_%d_%s", family, name))
		b.Set("instance", fmt.Sprintf("10.0.0.%d:9090", target))
		b.Set("job", "kubernetes-pods")
		points = append(points, point{t: 1_700_000_000_123, v: float64(len(points)) * 1.5, series: &series{
			metadata: unique.Make(metadata.Metadata{Type: model.MetricTypeCounter, Help: fmt.Sprintf("What is known of %d.", family)}),
			logged:   packer.Pack(b.Labels()),
		}})
	}
	for target := 0; len(points) < n; target++ {
		packer.Reset()
		for family := range 72 {
			switch family % 6 {
			case 0:
				for code := range 4 {
					add(target, family, "total", "code", strconv.Itoa(200+code), "method", "GET")
				}
			case 1, 5:
				for device := range 1 + family%6 {
					add(target, family, "bytes", "device", fmt.Sprintf("sd%d", device))
				}
			case 2, 3:
				add(target, family, "ratio")
			default:
				for handler := range 2 {
					path := fmt.Sprintf("/api/v1/objects/%d", handler)
					for _, le := range []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"} {
						add(target, family, "seconds_bucket", "handler", path, "le", le)
					}
					add(target, family, "seconds_sum", "handler", path)
					add(target, family, "seconds_count", "handler", path)
				}
			}
		}
	}
	return points
}

func addedForBenchmark() []addedLabel {
	return []addedLabel{
		{Label: labels.Label{Name: "clustername", Value: "aks-1"}, force: true},
		{Label: labels.Label{Name: "environment", Value: "production"}, force: true},
	}
}

// Run with: go test ./agent/shipper -run '^$' -bench 'Encode[12]' -benchmem.
func BenchmarkEncode1(b *testing.B) {
	points, numbers := scraped(2000), new(uint64)
	b.Run("ours", func(b *testing.B) { benchmarkEncoder(b, points, numbers, false) })
	b.Run("library", func(b *testing.B) {
		// Labels are made once a series there.
		merged := mergedOnce(points)
		pending, wire := make([]prompb.TimeSeries, len(points)), proto.NewBuffer(nil)
		for b.Loop() {
			for i := range points {
				ts := &pending[i]
				ts.Labels = prompb.FromLabels(merged[i], ts.Labels)
				ts.Samples = append(ts.Samples[:0], prompb.Sample{Value: points[i].v, Timestamp: points[i].t})
			}
			wire.Reset()
			if err := wire.Marshal(&prompb.WriteRequest{Timeseries: pending}); err != nil {
				b.Fatal(err)
			}
		}
		reportSamples(b, len(points), len(wire.Bytes()))
	})
}

func BenchmarkEncode2(b *testing.B) {
	points, numbers := scraped(2000), new(uint64)
	b.Run("ours", func(b *testing.B) { benchmarkEncoder(b, points, numbers, true) })
	b.Run("ours-exporters", func(b *testing.B) { benchmarkEncoder(b, exported(2000), numbers, true) })
	b.Run("library", func(b *testing.B) {
		merged := mergedOnce(points)
		pending, table := make([]writev2.TimeSeries, len(points)), writev2.NewSymbolTable()
		var wire []byte
		for b.Loop() {
			for i := range points {
				ts, m := &pending[i], points[i].series.metadata.Value()
				ts.Metadata = writev2.Metadata{Type: writev2.FromMetadataType(m.Type), HelpRef: table.Symbolize(m.Help), UnitRef: table.Symbolize(m.Unit)}
				ts.LabelsRefs = table.SymbolizeLabels(merged[i], ts.LabelsRefs)
				ts.Samples = append(ts.Samples[:0], writev2.Sample{Value: points[i].v, Timestamp: points[i].t})
			}
			req := &writev2.Request{Symbols: table.Symbols(), Timeseries: pending}
			var err error
			if wire, err = req.OptimizedMarshal(wire); err != nil {
				b.Fatal(err)
			}
			table.Reset()
		}
		reportSamples(b, len(points), len(wire))
	})
}

// benchmarkEncoder takes the numbers of all that encode these points.
func benchmarkEncoder(b *testing.B, points []point, numbers *uint64, v2 bool) {
	b.Helper()
	e := newEncoder(v2, encodeOptions{added: addedForBenchmark(), numbers: numbers})
	var wire []byte
	for b.Loop() {
		wire = e.encode(wire[:0], points)
	}
	reportSamples(b, len(points), len(wire))
}

func reportSamples(b *testing.B, points, wire int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(points), "ns/sample")
	b.ReportMetric(float64(wire)/float64(points), "wire-B/sample")
}

func mergedOnce(points []point) []labels.Labels {
	merged := make([]labels.Labels, len(points))
	for i := range points {
		merged[i] = leaving(points[i].series, addedForBenchmark())
	}
	return merged
}

// TestEncodingAllocatesNothing holds for each request after the first.
func TestEncodingAllocatesNothing(t *testing.T) {
	points := scraped(2000)
	for _, v2 := range []bool{false, true} {
		e := newEncoder(v2, encodeOptions{added: addedForBenchmark(), numbers: new(uint64)})
		wire := e.encode(nil, points)
		n := math.Inf(1)
		for range 3 { // What ends meanwhile of earlier tests allocates, too, but not each time.
			n = min(n, testing.AllocsPerRun(5, func() { wire = e.encode(wire[:0], points) }))
		}
		if n > 0 {
			t.Errorf("2.0 %v: %v allocations", v2, n)
		}
	}
}
