// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// sample is one that arrived.
type sample struct {
	series    string
	timestamp int64
	value     float64
}

// receiver is a remote write receiver that keeps what it gets.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex // guards the fields below
	samples []sample
	labels  map[string]labels.Labels
	hang    chan struct{} // not nil: requests wait until it is closed
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{labels: make(map[string]labels.Labels)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// Hang lets requests wait until the returned function is called.
func (r *receiver) Hang() (release func()) {
	hang := make(chan struct{})
	r.mu.Lock()
	r.hang = hang
	r.mu.Unlock()
	return sync.OnceFunc(func() { close(hang) })
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	hang := r.hang
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-req.Context().Done():
			return
		}
	}
	compressed, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	body, err := snappy.Decode(nil, compressed)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := r.take(body, req.Header.Get("Content-Type")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) take(body []byte, contentType string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := labels.NewScratchBuilder(0)
	if contentType == "application/x-protobuf;proto=io.prometheus.write.v2.Request" {
		var request writev2.Request
		if err := request.Unmarshal(body); err != nil {
			return err
		}
		for _, ts := range request.Timeseries {
			ls, err := ts.ToLabels(&b, request.Symbols)
			if err != nil {
				return err
			}
			for _, s := range ts.Samples {
				r.add(ls, s.Timestamp, s.Value)
			}
		}
		return nil
	}
	var request prompb.WriteRequest
	if err := request.Unmarshal(body); err != nil {
		return err
	}
	for _, ts := range request.Timeseries {
		ls := ts.ToLabels(&b, nil)
		for _, s := range ts.Samples {
			r.add(ls, s.Timestamp, s.Value)
		}
	}
	return nil
}

func (r *receiver) add(ls labels.Labels, timestamp int64, value float64) {
	r.samples = append(r.samples, sample{ls.String(), timestamp, value})
	r.labels[ls.String()] = ls
}

// Values are those of the series with this name and job, in the order they came.
func (r *receiver) Values(name, job string) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var values []float64
	for _, s := range r.samples {
		if ls := r.labels[s.series]; ls.Get("__name__") == name && ls.Get("job") == job {
			values = append(values, s.value)
		}
	}
	return values
}

// Series are all that came.
func (r *receiver) Series() []labels.Labels {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []labels.Labels
	for _, ls := range r.labels {
		all = append(all, ls)
	}
	return all
}
