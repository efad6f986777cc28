// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

// discard is a receiver that takes everything without a network.
type discard struct{ bytes atomic.Int64 }

func (d *discard) RoundTrip(r *http.Request) (*http.Response, error) {
	n, err := io.Copy(io.Discard, r.Body)
	d.bytes.Add(n)
	return &http.Response{
		StatusCode: http.StatusNoContent, Request: r, Body: io.NopCloser(strings.NewReader("")),
		Header: http.Header{"X-Prometheus-Remote-Write-Samples-Written": {"1000000"}},
	}, err
}

// benchLog gives the same scrapes again and again.
type benchLog struct {
	series  []logged.Series
	scrapes int64 // to be read
}

const benchTargets, benchSeries, benchScrapes = 60, 500, 20

func (l *benchLog) Begin() logged.Position { return logged.Position{Generation: 1} }
func (l *benchLog) End() logged.Position {
	return logged.Position{Generation: 1, Offset: l.scrapes * benchTargets}
}

func (l *benchLog) Read(from logged.Position) Reader { return &benchReader{log: l, at: from.Offset} }

func (l *benchLog) Skim(from logged.Position) Reader { return l.Read(from) }
func (l *benchLog) Size(logged.Position) int64       { return 0 }
func (l *benchLog) Budget() (time.Duration, bool)    { return 0, false }
func (l *benchLog) Claim(logged.Position, func(logged.Position, string)) Claim {
	return (*benchClaim)(l)
}

type benchClaim benchLog

func (*benchClaim) Move(logged.Position) {}
func (*benchClaim) Drop()                {}

// benchReader is of records of one target each.
type benchReader struct {
	log *benchLog
	at  int64
}

func (r *benchReader) Next(b *logged.Batch) bool {
	b.Reset()
	if r.at >= r.log.End().Offset {
		return false
	}
	b.Generation, b.Begin = 1, logged.Position{Generation: 1, Offset: r.at}
	target, scrape := r.at%benchTargets, r.at/benchTargets
	for i := range int64(benchSeries) {
		b.Samples = append(b.Samples, record.RefSample{
			Ref: chunks.HeadSeriesRef(target*benchSeries + i + 1), T: 1_700_000_000_000 + scrape*15_000 + target*100, V: float64(i * scrape),
		})
	}
	r.at++
	b.End = r.Position()
	return true
}

func (r *benchReader) Position() logged.Position { return logged.Position{Generation: 1, Offset: r.at} }

func (r *benchReader) Series(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	return r.log.series[ref-1], true
}
func (r *benchReader) Close() error { return nil }

// BenchmarkShip ships a backlog of 60 targets of 500 series, from the log's
// records to the transport. Run with:
// go test ./agent/shipper -run '^$' -bench Ship -benchmem.
func BenchmarkShip(b *testing.B) {
	for name, more := range map[string]string{
		"1.0":         "",
		"2.0":         "  protobuf_message: io.prometheus.write.v2.Request\n",
		"1.0 a shard": "  queue_config: {max_shards: 1}\n",
	} {
		b.Run(name, func(b *testing.B) { benchmarkShip(b, more) })
	}
}

func benchmarkShip(b *testing.B, more string) {
	b.Helper()
	l := &benchLog{}
	for _, p := range scraped(benchTargets * benchSeries) {
		l.series = append(l.series, logged.Series{Labels: p.series.labels(), Metadata: p.series.metadata})
	}
	receiver := &discard{}
	cfg := parseWith(b, "{clustername: c1, environment: prod, region: r1}", "- url: http://receiver/write\n"+more)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		l.scrapes = benchScrapes
		s := New(Options{
			Dir: b.TempDir(), Logger: log.NewNopLogger(), Registry: prometheus.NewRegistry(), Log: l,
			FlushDeadline: time.Minute, Retention: time.Hour,
		})
		all, err := s.settings(cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.openJournals(); err != nil {
			b.Fatal(err)
		}
		s.begun = true
		all[0].client.http.Transport = receiver
		b.StartTimer()
		d := s.newDestination(all[0], nil, state{Sent: l.Begin()})
		s.running.Store(&[]*destination{d})
		if err := s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if sent := d.sentUntil(); sent != l.End() {
			b.Fatalf("records until %s of %s were sent", sent, l.End())
		}
	}
	samples := float64(b.N * benchScrapes * benchTargets * benchSeries)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
	b.ReportMetric(float64(receiver.bytes.Load())/samples, "bytes/sample")
}

// TestShippingAllocationBudget: what is allocated for a backlog is for its series
// and its requests, not for its samples.
func TestShippingAllocationBudget(t *testing.T) {
	const budget = 0.1 // a sample; measured are 0.03
	for name, more := range map[string]string{"1.0": "", "2.0": "  protobuf_message: io.prometheus.write.v2.Request\n"} {
		r := testing.Benchmark(func(b *testing.B) {
			b.Helper()
			benchmarkShip(b, more)
		})
		if r.N == 0 {
			t.Fatalf("%s: the benchmark failed", name)
		}
		if n := float64(r.AllocsPerOp()) / (benchScrapes * benchTargets * benchSeries); n > budget {
			t.Errorf("%s: %.3f allocations a sample, at most %.3f are allowed", name, n, budget)
		}
	}
}
