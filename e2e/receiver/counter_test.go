// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func openCounter(t *testing.T, metrics ...string) *Counter {
	t.Helper()
	c := NewCounter(100, metrics...)
	if err := c.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// post sends a compressed body and returns the answer's status and headers.
func post(t *testing.T, url, message, encoding string, body []byte) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", encoding)
	req.Header.Set("Content-Type", "application/x-protobuf")
	if message == ProtocolV2 {
		req.Header.Set("Content-Type", "application/x-protobuf;proto="+message)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, resp.Header
}

func zipped(t *testing.T, body []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	packed := encoder.EncodeAll(body, nil)
	if err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	return packed
}

func of1(t *testing.T, series ...prompb.TimeSeries) []byte {
	t.Helper()
	body, err := (&prompb.WriteRequest{
		Timeseries: series,
		Metadata:   []prompb.MetricMetadata{{MetricFamilyName: "n", Type: prompb.MetricMetadata_GAUGE, Help: "h"}},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func of2(t *testing.T, symbols []string, series ...writev2.TimeSeries) []byte {
	t.Helper()
	body, err := (&writev2.Request{Symbols: symbols, Timeseries: series}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestVictoriaMetrics: what vmagent sends is read, by both receivers.
func TestVictoriaMetrics(t *testing.T) {
	r, c := open(t), openCounter(t, "a")
	body := zipped(t, v1(t, 10, 20))
	for _, url := range []string{r.URL(), c.URL()} {
		if status, _ := post(t, url, ProtocolV1, "zstd", body); status != http.StatusNoContent {
			t.Errorf("zstd is answered %d", status)
		}
		if status, _ := post(t, url, ProtocolV1, "zstd", body[1:]); status != http.StatusBadRequest {
			t.Errorf("damaged zstd is answered %d", status)
		}
		if status, _ := post(t, url, ProtocolV1, "gzip", body); status != http.StatusBadRequest {
			t.Errorf("gzip is answered %d", status)
		}
	}
	if r.Total() != 2 || len(r.Malformed()) != 2 {
		t.Errorf("the receiver has %d samples, and %q is malformed", r.Total(), r.Malformed())
	}
	want := Totals{Samples: 2, Bytes: 3*len(body) - 1, Wrong: `content encoding is "gzip", neither snappy nor zstd`}
	if diff := cmp.Diff(want, c.Totals()); diff != "" {
		t.Errorf("the counter's totals differ (-want +got):\n%s", diff)
	}
}

// TestCounter: both protocols and all compressions are one to it; markers and other metrics do not count.
func TestCounter(t *testing.T) {
	c := openCounter(t, "n", "m")
	stale := math.Float64frombits(value.StaleNaN)
	one := func(metric, instance string, samples ...prompb.Sample) prompb.TimeSeries {
		return prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: metric}, {Name: "empty"}, {Name: "instance", Value: instance}},
			Samples: samples,
		}
	}
	first := of1(t, one("n", "i", prompb.Sample{Timestamp: -1, Value: 1}, prompb.Sample{Timestamp: 30, Value: 3}, prompb.Sample{Timestamp: 40, Value: stale}),
		one("m", "i", prompb.Sample{Timestamp: 10, Value: 310}), one("up", "i", prompb.Sample{Timestamp: 10, Value: 1}), one("n", "j", prompb.Sample{Timestamp: 10}))
	second := of2(t, []string{"", "__name__", "n", "empty", "instance", "i"}, writev2.TimeSeries{
		LabelsRefs: []uint32{1, 2, 3, 0, 4, 5},
		Samples:    []writev2.Sample{{Timestamp: 20, Value: 2}, {Timestamp: 30, Value: 3}, {Timestamp: 50, Value: 4, StartTimestamp: 7}},
		Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5},
	})
	bytes := 0
	for _, request := range []struct {
		message, encoding string
		body              []byte
	}{{ProtocolV1, "zstd", zipped(t, first)}, {ProtocolV2, "snappy", snappy.Encode(nil, second)}} {
		status, header := post(t, c.URL(), request.message, request.encoding, request.body)
		if status != http.StatusNoContent {
			t.Errorf("%s is answered %d", request.message, status)
		}
		want := map[string]string{ProtocolV1: "", ProtocolV2: "3"}[request.message]
		if got := header.Get("X-Prometheus-Remote-Write-Samples-Written"); got != want {
			t.Errorf("%s: samples written are %q, want %q", request.message, got, want)
		}
		bytes += len(request.body)
	}
	if diff := cmp.Diff(Totals{Samples: 6, Repeats: 1, Disorder: 1, Bytes: bytes}, c.Totals()); diff != "" {
		t.Errorf("totals differ (-want +got):\n%s", diff)
	}
	want := [][]int{{0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1}, {1}, nil}
	if diff := cmp.Diff(want, [][]int{c.Of("i"), c.Of("j"), c.Of("k")}); diff != "" {
		t.Errorf("the numbers of i, j and k differ (-want +got):\n%s", diff)
	}
}

// TestCounterOfNoNumbers: a value that cannot be the number of a scrape is no sample of the load.
func TestCounterOfNoNumbers(t *testing.T) {
	for _, value := range []float64{-1, 0.5, 1e300, math.Inf(1), math.NaN()} {
		c := NewCounter(100, "a")
		if _, err := c.take(message{protocol: ProtocolV1, body: v1(t, value)}); err != nil {
			t.Error(err)
		}
		if totals := c.Totals(); totals.Samples != 0 || totals.Wrong == "" {
			t.Errorf("with the value %v totals are %+v", value, totals)
		}
	}
}

// TestCounterOfAltered: a value that was read inexactly is a sample of the scrape that it is next to.
func TestCounterOfAltered(t *testing.T) {
	c := NewCounter(100, "a")
	if _, err := c.take(message{protocol: ProtocolV1, body: v1(t, 4.2194698309999995e+09, 31.0001)}); err != nil {
		t.Fatal(err)
	}
	if totals := c.Totals(); totals.Samples != 2 || totals.Altered != 2 || totals.Wrong != "" {
		t.Errorf("totals are %+v", totals)
	}
	if numbers := c.Of(""); len(numbers) != 32 || numbers[31] != 2 {
		t.Errorf("the numbers are %v", numbers)
	}
}

func TestCounterTellsHistogramsAndExemplars(t *testing.T) {
	c := openCounter(t, "b")
	_, header := post(t, c.URL(), ProtocolV2, "snappy", snappy.Encode(nil, v2(t)))
	for _, kind := range []string{"Samples", "Histograms", "Exemplars"} {
		if got := header.Get("X-Prometheus-Remote-Write-" + kind + "-Written"); got != "1" {
			t.Errorf("%s written: %q", kind, got)
		}
	}
}

// TestCounterAnswers: what is refused is counted in bytes only.
func TestCounterAnswers(t *testing.T) {
	c := openCounter(t, "a")
	body := snappy.Encode(nil, v1(t, 10))
	f := func(status int, delay time.Duration, want, samples int) {
		t.Helper()
		c.Answer(status, delay)
		before, began := c.Totals(), time.Now()
		if got, _ := post(t, c.URL(), ProtocolV1, "snappy", body); got != want {
			t.Errorf("the answer is %d, want %d", got, want)
		}
		if took := time.Since(began); took < delay {
			t.Errorf("the answer took %s, want %s", took, delay)
		}
		after := c.Totals()
		if after.Bytes-before.Bytes != len(body) || after.Samples-before.Samples != samples {
			t.Errorf("it counts %+v after %+v", after, before)
		}
	}
	f(http.StatusServiceUnavailable, 0, http.StatusServiceUnavailable, 0)
	f(0, 50*time.Millisecond, http.StatusNoContent, 1)
	f(http.StatusOK, 0, http.StatusOK, 0)
	if c.Totals().Repeats != 1 {
		t.Errorf("totals are %+v", c.Totals())
	}
}

// TestCounterRefusesDamage: whatever is cut off or not there is told.
func TestCounterRefusesDamage(t *testing.T) {
	c := NewCounter(100, "b")
	whole := v2(t)
	for cut := 1; cut < len(whole); cut++ {
		// Between two fields of the whole there is an end that is no damage.
		if _, err := c.take(message{protocol: ProtocolV2, body: whole[:cut]}); err == nil {
			var request writev2.Request
			if request.Unmarshal(whole[:cut]) != nil {
				t.Errorf("the first %d of %d bytes are taken", cut, len(whole))
			}
		}
	}
	series := writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Timestamp: 1, Value: 1}}}
	if _, err := c.take(message{protocol: ProtocolV2, body: of2(t, []string{"", "__name__"}, series)}); err == nil {
		t.Error("a symbol that is not there is taken")
	}
	behind := append(of2(t, nil, series), of2(t, []string{"", "__name__", "b"})...)
	if _, err := c.take(message{protocol: ProtocolV2, body: behind}); err != nil || c.Totals().Samples == 0 {
		t.Errorf("symbols behind their series: %v", err)
	}
}

// BenchmarkCounter tells what a sample costs who measures: go test -run '^$' -bench Counter ./receiver.
func BenchmarkCounter(b *testing.B) {
	const series = 2000
	symbols := []string{"", "__name__", "n", "clustername", "bench", "environment", "local", "instance", "127.0.0.1:12345", "job", "load", "series"}
	request := writev2.Request{}
	for i := range series {
		symbols = append(symbols, strconv.Itoa(i))
		request.Timeseries = append(request.Timeseries, writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, uint32(len(symbols) - 1)}, Samples: []writev2.Sample{{Value: 1}},
		})
	}
	request.Symbols = symbols
	c := NewCounter(100, "n")
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		for i := range request.Timeseries {
			request.Timeseries[i].Samples[0].Timestamp = int64(n)
		}
		body, err := request.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := c.take(message{protocol: ProtocolV2, body: body}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/series, "ns/sample")
}
