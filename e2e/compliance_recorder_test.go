// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"torchbearer/e2e/receiver"
)

// A recorder is a receiver that keeps the requests as they came, and answers each as it is told.
type recorder struct {
	url string

	mu       sync.Mutex // guards all below
	answer   func(n int, r *recorded) reply
	requests []*recorded
}

// recorded is one request.
type recorded struct {
	at      time.Time
	method  string
	header  http.Header
	body    []byte
	symbols []string // of 2.0
	series  []sent
	about   map[string]string // metric family and its help, 1.0
	err     error             // why it could not be read
	status  int               // of the answer
}

// sent is one TimeSeries of one request.
type sent struct {
	in         *recorded
	names      []string // of the labels, in their order
	labels     map[string]string
	refs       []uint32 // of the labels, 2.0
	samples    []writev2.Sample
	histograms []writev2.Histogram
	exemplars  []writev2.Exemplar
	metadata   writev2.Metadata
}

func (s sent) name() string { return s.labels["__name__"] }

// reply is an answer; what was written is counted in its header if it is a success.
type reply struct {
	status int // 0 is 204
	header http.Header
	body   string
	mute   bool // says nothing about what was written
	delay  time.Duration
	hang   bool // until the client has gone
}

// startRecorder runs a recorder until the test ends. Without answer all is taken.
func startRecorder(t *testing.T, answer func(n int, r *recorded) reply) *recorder {
	t.Helper()
	if answer == nil {
		answer = func(int, *recorded) reply { return reply{} }
	}
	r := &recorder{answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL + "/api/v1/write"
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	in := &recorded{at: time.Now(), method: req.Method, header: req.Header.Clone()}
	var err error
	if in.body, err = io.ReadAll(req.Body); err != nil {
		return // The agent has gone while it sent.
	}
	in.err = in.decode()
	r.mu.Lock()
	r.requests = append(r.requests, in)
	a := r.answer(len(r.requests), in)
	if a.status == 0 {
		a.status = http.StatusNoContent
	}
	in.status = a.status
	r.mu.Unlock()
	if a.hang {
		a.delay = time.Minute
	}
	if a.delay > 0 {
		select {
		case <-time.After(a.delay):
		case <-req.Context().Done():
			return
		}
	}

	maps.Copy(w.Header(), a.header)
	if in.isV2() && a.status/100 == 2 && !a.mute {
		samples, histograms, exemplars := in.written()
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // The agent may have gone.
}

// all returns the requests so far.
func (r *recorder) all() []*recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// sent returns the series of all requests, in the order in which they came.
func (r *recorder) sent() []sent {
	var all []sent
	for _, in := range r.all() {
		all = append(all, in.series...)
	}
	return all
}

// ofJob keeps the series of one job.
func ofJob(all []sent, job string) []sent { return having(all, "job", job) }

// named keeps the series of this name.
func named(all []sent, name string) []sent { return having(all, "__name__", name) }

// having keeps the series with these labels: pairs of name and value.
func having(all []sent, pairs ...string) []sent {
	return slices.DeleteFunc(slices.Clone(all), func(s sent) bool {
		for i := 0; i < len(pairs); i += 2 {
			if s.labels[pairs[i]] != pairs[i+1] {
				return true
			}
		}
		return false
	})
}

// values returns the float samples of these series.
func values(all []sent) (samples []writev2.Sample) {
	for _, s := range all {
		samples = append(samples, s.samples...)
	}
	return samples
}

func (in *recorded) isV2() bool {
	return strings.Contains(in.header.Get("Content-Type"), receiver.ProtocolV2)
}

func (in *recorded) written() (samples, histograms, exemplars int) {
	for _, s := range in.series {
		samples += len(s.samples)
		histograms += len(s.histograms)
		exemplars += len(s.exemplars)
	}
	return samples, histograms, exemplars
}

func (in *recorded) decode() error {
	body, err := snappy.Decode(nil, in.body)
	if err != nil {
		return fmt.Errorf("not a block of snappy: %w", err)
	}
	if in.isV2() {
		return in.decodeV2(body)
	}
	var message prompb.WriteRequest
	if err := message.Unmarshal(body); err != nil {
		return err
	}
	in.about = map[string]string{}
	for _, m := range message.Metadata {
		in.about[m.MetricFamilyName] = m.Help
	}
	for _, ts := range message.Timeseries {
		s := sent{in: in, labels: map[string]string{}}
		for _, l := range ts.Labels {
			s.names = append(s.names, l.Name)
			s.labels[l.Name] = l.Value
		}
		for _, sample := range ts.Samples {
			s.samples = append(s.samples, writev2.Sample{Value: sample.Value, Timestamp: sample.Timestamp})
		}
		s.histograms = make([]writev2.Histogram, len(ts.Histograms)) // That there are some is enough.
		in.series = append(in.series, s)
	}
	return nil
}

func (in *recorded) decodeV2(body []byte) error {
	var message writev2.Request
	if err := message.Unmarshal(body); err != nil {
		return err
	}
	in.symbols = message.Symbols
	for _, ts := range message.Timeseries {
		s := sent{
			in: in, refs: ts.LabelsRefs, samples: ts.Samples, histograms: ts.Histograms,
			exemplars: ts.Exemplars, metadata: ts.Metadata,
		}
		var err error
		if s.names, s.labels, err = in.resolve(ts.LabelsRefs); err != nil {
			return err
		}
		if _, _, err := in.resolve([]uint32{ts.Metadata.HelpRef, ts.Metadata.UnitRef}); err != nil {
			return err
		}
		for _, e := range ts.Exemplars {
			if _, _, err := in.resolve(e.LabelsRefs); err != nil {
				return err
			}
		}
		in.series = append(in.series, s)
	}
	return nil
}

// resolve looks references up: pairs of name and value.
func (in *recorded) resolve(refs []uint32) (names []string, byName map[string]string, err error) {
	if len(refs)%2 != 0 {
		return nil, nil, errors.New("an odd number of references")
	}
	byName = map[string]string{}
	for i := 0; i < len(refs); i += 2 {
		if n := len(in.symbols); int(refs[i]) >= n || int(refs[i+1]) >= n {
			return nil, nil, fmt.Errorf("references %d and %d into %d symbols", refs[i], refs[i+1], n)
		}
		names = append(names, in.symbols[refs[i]])
		byName[in.symbols[refs[i]]] = in.symbols[refs[i+1]]
	}
	return names, byName, nil
}

// symbol is what a reference stands for.
func (s sent) symbol(ref uint32) string { return s.in.symbols[ref] }

// exemplar is the labels of the i-th exemplar.
func (s sent) exemplar(i int) map[string]string {
	_, labels, _ := s.in.resolve(s.exemplars[i].LabelsRefs) // They have been resolved before.
	return labels
}

// interrupt ends the agent as the suites do; it has to leave with 0.
func interrupt(t *testing.T, a *agent) {
	t.Helper()
	if err := a.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	code, err := a.Wait(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Errorf("exit code is %d after SIGINT, want 0", code)
	}
}

// wantWellFormed checks that requests came and that all can be read.
func wantWellFormed(t *testing.T, r *recorder) {
	t.Helper()
	if len(r.all()) == 0 {
		t.Fatal("no request came")
	}
	for i, in := range r.all() {
		if in.err != nil {
			t.Errorf("request %d: %v", i, in.err)
		}
	}
}

// destinations puts several sections of remoteWrite together.
func destinations(each ...string) string {
	const head = "remote_write:\n"
	return head + strings.ReplaceAll(strings.Join(each, ""), head, "")
}
