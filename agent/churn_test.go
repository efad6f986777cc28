// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"torchbearer/config"
)

const churnConfig = `
global: {scrape_interval: 1m, external_labels: {clustername: c, environment: e}}
remote_write:
- {name: one, url: "%[1]s/one", protobuf_message: prometheus.WriteRequest}
- name: two
  url: "%[1]s/two"
  protobuf_message: io.prometheus.write.v2.Request
  write_relabel_configs: [{source_labels: [pod], regex: (.*), target_label: copy}]
scrape_configs:
- job_name: churn
  static_configs: [{targets: ["%[2]s"]}]
  metric_relabel_configs: [{source_labels: [pod], regex: checkout-(.*), target_label: number}]
`

// churn is a target of which one series in ten is new in each scrape, and a
// receiver of both protocols.
type churn struct {
	series  int
	scrapes atomic.Int64
	came    atomic.Int64 // samples, by 2.0
}

func (c *churn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		c.receive(w, r)
		return
	}
	k := int(c.scrapes.Add(1))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for i := range c.series {
		born := (k + i) / 10
		fmt.Fprintf(w, "requests_total{pod=\"checkout-%d-%d\",route=\"/api/v1/orders\"} %d\n", i, born, k)
	}
}

func (c *churn) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = snappy.Decode(nil, body)
	}
	var req writev2.Request
	if err == nil && strings.HasSuffix(r.URL.Path, "two") {
		err = req.Unmarshal(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	n := 0
	for i := range req.Timeseries {
		n += len(req.Timeseries[i].Samples)
	}
	c.came.Add(int64(n))
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
	w.WriteHeader(http.StatusNoContent)
}

// TestADayOfChurnTakesTheMemoryOfItsFirstHour is of the whole agent: what it has
// of series that are gone, from the scrape to the requests, it forgets. The day
// has eight hours, or CHURN_HOURS.
func TestADayOfChurnTakesTheMemoryOfItsFirstHour(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	day := 8
	if n, err := strconv.Atoi(os.Getenv("CHURN_HOURS")); err == nil {
		day = n
	}
	c := &churn{series: 500}
	server := httptest.NewUnstartedServer(c)
	server.Config.SetKeepAlivesEnabled(false) // A connection that waits for a request would hold the clock.
	server.Start()
	defer server.Close()
	dir := memory(t)
	synctest.Test(t, func(t *testing.T) {
		opts := options(t, dir)
		opts.Config = config.Options{RequiredLabels: []string{"clustername", "environment"}}
		opts.Registry, opts.WAL.Dir = prometheus.NewRegistry(), filepath.Join(dir, "data")
		opts.WAL.CheckpointFromInMemorySeries = true
		write(t, opts.ConfigFile, fmt.Sprintf(churnConfig, server.URL, strings.TrimPrefix(server.URL, "http://")))
		a, err := New(opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()

		var hours []uint64 // the most heap in each
		for hour := range day {
			hours = append(hours, 0)
			for range 12 {
				time.Sleep(5 * time.Minute)
				hours[hour] = max(hours[hour], heap())
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		t.Logf("%d scrapes; the heap in each hour: %d", c.scrapes.Load(), hours)
		if shown := c.scrapes.Load() * int64(c.series); shown < int64(day*60-1)*int64(c.series) || c.came.Load() < shown {
			t.Errorf("%d samples were shown and %d came", shown, c.came.Load())
		}
		// Eight hours of which nothing is forgotten would be 24,000 series.
		if first, last := hours[0], hours[day-1]; last > first*11/10+1<<20 {
			t.Errorf("%d bytes of heap in the first hour, %d in the last", first, last)
		}
	})
}

// heap is what is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // What pools had goes with the second one.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
