// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"torchbearer/agent/packed"
)

// inbox is a receiver that stores what its reply lets it store.
type inbox struct {
	*httptest.Server

	t     *testing.T
	reply func(n int, got *letter) reply // n counts from 0

	mu      sync.Mutex
	letters []*letter
	held    map[string][]int64 // timestamps by series
}

// letter is a request that came in.
type letter struct {
	at      time.Time
	header  http.Header
	path    string
	v2      bool
	bytes   int
	series  []string
	samples map[string][]int64
	count   int // samples and histograms
}

func (l *letter) has(series string) bool { return len(l.samples[series]) > 0 }

// reply is an answer. Of a 2xx all is stored, of anything else what stores says.
type reply struct {
	status int
	header map[string]string
	body   string
	stores []string
}

func newInbox(t *testing.T, handler func(n int, got *letter) reply) *inbox {
	t.Helper()
	in := unstartedInbox(t, handler)
	in.Start()
	return in
}

func unstartedInbox(t *testing.T, handler func(n int, got *letter) reply) *inbox {
	t.Helper()
	in := &inbox{t: t, reply: handler, held: map[string][]int64{}}
	in.Server = httptest.NewUnstartedServer(in)
	t.Cleanup(in.Close)
	return in
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	l := &letter{at: time.Now(), header: r.Header, path: r.URL.Path, bytes: len(body), samples: map[string][]int64{}}
	l.v2 = strings.Contains(r.Header.Get("Content-Type"), "write.v2")
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		in.t.Errorf("not snappy: %v", err)
	}
	if err := l.open(plain); err != nil {
		in.t.Errorf("not a message: %v", err)
	}
	in.mu.Lock()
	n := len(in.letters)
	in.letters = append(in.letters, l)
	in.mu.Unlock()
	re := in.reply(n, l)
	if re.status/100 == 2 {
		re.stores = l.series
		if l.v2 && re.header == nil {
			w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(l.count))
		}
	}
	in.mu.Lock()
	for _, s := range re.stores {
		in.held[s] = append(in.held[s], l.samples[s]...)
	}
	in.mu.Unlock()
	for name, value := range re.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(re.status)
	_, _ = io.WriteString(w, re.body)
}

func (l *letter) open(plain []byte) error {
	add := func(series string, at int64) {
		if !l.has(series) {
			l.series = append(l.series, series)
		}
		l.samples[series] = append(l.samples[series], at)
		l.count++
	}
	if l.v2 {
		var message writev2.Request
		if err := message.Unmarshal(plain); err != nil {
			return err
		}
		b := labels.NewScratchBuilder(0)
		for _, ts := range message.Timeseries {
			ls, err := ts.ToLabels(&b, message.Symbols)
			if err != nil {
				return err
			}
			for _, s := range ts.Samples {
				add(ls.Get("n"), s.Timestamp)
			}
			for _, h := range ts.Histograms {
				add(ls.Get("n"), h.Timestamp)
			}
		}
		return nil
	}
	var message prompb.WriteRequest
	if err := message.Unmarshal(plain); err != nil {
		return err
	}
	b := labels.NewScratchBuilder(0)
	for _, ts := range message.Timeseries {
		ls := ts.ToLabels(&b, nil)
		for _, s := range ts.Samples {
			add(ls.Get("n"), s.Timestamp)
		}
		for _, h := range ts.Histograms {
			add(ls.Get("n"), h.Timestamp)
		}
	}
	return nil
}

func (in *inbox) requests() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.letters)
}

// quiet waits until nothing has come for a while: a request of a sender that was
// stopped meanwhile may still be on its way.
func (in *inbox) quiet() {
	n, since := in.requests(), time.Now()
	for time.Since(since) < 300*time.Millisecond {
		time.Sleep(10 * time.Millisecond)
		if now := in.requests(); now != n {
			n, since = now, time.Now()
		}
	}
}

func (in *inbox) letter(n int) *letter {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n >= len(in.letters) {
		in.t.Fatalf("there were only %d requests", len(in.letters))
	}
	return in.letters[n]
}

// stored returns the timestamps of each series, as they came.
func (in *inbox) stored() map[string][]int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := map[string][]int64{}
	for s, at := range in.held {
		all[s] = slices.Clone(at)
	}
	return all
}

// always gives every request the same answer.
func always(status int) func(int, *letter) reply {
	return func(int, *letter) reply { return reply{status: status} }
}

// refusing refuses every request that has one of the series.
func refusing(words string, series ...string) func(int, *letter) reply {
	return func(_ int, got *letter) reply {
		if slices.ContainsFunc(series, got.has) {
			return reply{status: http.StatusBadRequest, body: words}
		}
		return reply{status: http.StatusNoContent}
	}
}

// route is a remote_write config for a URL.
func route(t *testing.T, address string) *promconfig.RemoteWriteConfig {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &promconfig.RemoteWriteConfig{
		URL: &promcfg.URL{URL: u}, RemoteTimeout: model.Duration(time.Minute), HTTPClientConfig: promcfg.DefaultHTTPClientConfig,
	}
}

func clientFor(t *testing.T, rw *promconfig.RemoteWriteConfig) *client {
	t.Helper()
	c, err := newClient(withoutUserinfo(rw))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func settingsFor(t *testing.T, address string, v2 bool) *settings {
	t.Helper()
	return &settings{
		name: "test", url: address, client: clientFor(t, route(t, address)), v2: v2,
		minBackoff: time.Millisecond, maxBackoff: 20 * time.Millisecond, replaced: make(chan struct{}),
	}
}

// quick is a sender whose waits are short.
func quick(t *testing.T) (*sender, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	s := newSender(log.NewNopLogger(), newSendMetrics(registry))
	s.park, s.polite = 10*time.Millisecond, 10*time.Millisecond
	return s, registry
}

// makePoints makes per samples of each of n series, at 1, 2, 3...
func makePoints(n, per int) []point {
	var points []point
	for i := range n {
		s := &series{logged: packed.Of(labels.FromStrings("__name__", "m", "n", serial(i), "pod", "a-pod-with-a-name", "zone", "a"))}
		for at := range per {
			points = append(points, point{series: s, t: int64(at + 1), v: float64(i)})
		}
	}
	return points
}

func serial(i int) string { return fmt.Sprintf("%04d", i) }

// value reads a metric of the destination that settingsFor makes.
func value(t *testing.T, registry *prometheus.Registry, name string, more ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			has := map[string]string{}
			for _, l := range metric.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(more); i += 2 {
				match = match && has[more[i]] == more[i+1]
			}
			if match {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return 0
}
