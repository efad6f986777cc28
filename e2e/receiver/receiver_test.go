// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"

	"torchbearer/e2e/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// v1 is a request with one series "a" and these values at the times 1, 2, 3 and so on.
func v1(t *testing.T, values ...float64) []byte {
	t.Helper()
	ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "a"}, {Name: "job", Value: "j"}}}
	for i, value := range values {
		ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: int64(i + 1), Value: value})
	}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func v2(t *testing.T) []byte {
	t.Helper()
	body, err := (&writev2.Request{
		Symbols: []string{"", "__name__", "b", "trace", "x", "help"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2},
			Samples:    []writev2.Sample{{Timestamp: 7, Value: 70}},
			Exemplars:  []writev2.Exemplar{{LabelsRefs: []uint32{3, 4}, Value: 1, Timestamp: 7}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5},
		}, {
			LabelsRefs: []uint32{1, 4},
			Histograms: []writev2.Histogram{{Timestamp: 8, Sum: 3, Count: &writev2.Histogram_CountInt{CountInt: 1}}},
		}},
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func open(t *testing.T) *Receiver {
	t.Helper()
	r := New()
	if err := r.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// send returns the answer's status and headers.
func send(ctx context.Context, t *testing.T, r *Receiver, message string, body []byte) (int, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL(), bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf;proto="+message)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, resp.Header
}

func TestCounts(t *testing.T) {
	r := open(t)
	for _, body := range [][]byte{v1(t, 10, 20), v1(t, 10, 20, 30)} {
		if status, _ := send(t.Context(), t, r, ProtocolV1, body); status != http.StatusNoContent {
			t.Errorf("status is %d", status)
		}
	}
	_, header := send(t.Context(), t, r, ProtocolV2, v2(t))
	for name, want := range map[string]string{"Samples": "1", "Histograms": "1", "Exemplars": "1"} {
		if got := header.Get("X-Prometheus-Remote-Write-" + name + "-Written"); got != want {
			t.Errorf("%s written: %q, want %q", name, got, want)
		}
	}

	got := []int{r.Total(), r.Distinct(), r.Duplicates(), r.Disorder(), r.Requests()}
	if diff := cmp.Diff([]int{7, 5, 2, 1, 3}, got); diff != "" {
		t.Errorf("total, distinct, duplicates, disorder and requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{ProtocolV1: 2, ProtocolV2: 1}, r.Protocols()); diff != "" {
		t.Errorf("requests by message (-want +got):\n%s", diff)
	}
	a := r.Match("__name__", "a", "job", "j")
	if len(a) != 1 || !cmp.Equal(a[0].Values(), []float64{10, 20, 30}) || a[0].Points[0].Count != 2 {
		t.Errorf("series a is %v", a)
	}
	b := r.Match("__name__", "b", "job", "")
	if len(b) != 1 || len(b[0].Exemplars) != 1 || b[0].Metadata.Help != "help" || b[0].Metadata.Type != "counter" {
		t.Errorf("series b is %v", b)
	}
	if err := r.EverySeriesHas("job", "j"); err == nil {
		t.Error("series b has no label job, and nobody says so")
	}
}

func TestFaults(t *testing.T) {
	r := open(t)
	r.SetBehaviour(func(n int, _ *http.Request) *Answer {
		switch n {
		case 1:
			return &Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3"}}}
		case 2:
			return &Answer{Status: http.StatusBadGateway, Keep: true}
		}
		return nil
	})
	for i, want := range []int{429, 502, 204} {
		status, header := send(t.Context(), t, r, ProtocolV1, v1(t, float64(i)))
		if status != want || (i == 0) != (header.Get("Retry-After") == "3") {
			t.Errorf("answer %d is %d with %v, want %d", i, status, header, want)
		}
	}
	if r.Total() != 2 || r.Duplicates() != 1 {
		t.Errorf("%d samples are kept, %d twice: want those of answers 2 and 3", r.Total(), r.Duplicates())
	}
}

func TestHang(t *testing.T) {
	r := open(t)
	r.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answer := make(chan int)
	go func() {
		status, _ := send(ctx, t, r, ProtocolV1, v1(t, 1))
		answer <- status
	}()
	if err := process.Until(ctx, func() error {
		if r.Requests() == 0 {
			return errors.New("no request has come")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-answer:
		t.Fatalf("a hanging receiver answered %d", status)
	default:
	}
	r.SetBehaviour(nil)
	if status := <-answer; status != http.StatusServiceUnavailable {
		t.Errorf("the released request got %d", status)
	}
	if r.Total() != 0 {
		t.Error("a refused sample was kept")
	}
}

func TestMalformed(t *testing.T) {
	r := open(t)
	for _, message := range []string{ProtocolV1, ProtocolV2} {
		if status, _ := send(t.Context(), t, r, message, []byte("\x0a\xff")); status != http.StatusBadRequest {
			t.Errorf("status of a damaged %s is %d", message, status)
		}
	}
	if len(r.Malformed()) != 2 {
		t.Errorf("malformed requests are %q", r.Malformed())
	}
}
