// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
	"unique"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
	"torchbearer/config"
)

const (
	memRecord  = 100 // bytes that a record seems to take
	memSegment = 10  // records in a segment
)

// memLog is a log in memory. Each record is one scrape of all series.
type memLog struct {
	mu      sync.Mutex
	records []logged.Batch
	series  map[uint64]map[chunks.HeadSeriesRef]logged.Series
	// metadata is that of all series that become known; zero for none.
	metadata unique.Handle[metadata.Metadata]
	end      logged.Position
	begin    logged.Position
	claims   map[*memClaim]struct{}

	unreadable bool // for now
}

type memClaim struct {
	log    *memLog
	at     logged.Position
	giveUp func(logged.Position, string)
}

func newMemLog() *memLog {
	l := &memLog{series: map[uint64]map[chunks.HeadSeriesRef]logged.Series{}, claims: map[*memClaim]struct{}{}}
	l.restart()
	l.begin = l.end
	return l
}

// restart begins a generation.
func (l *memLog) restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = logged.Position{Generation: l.end.Generation + 1}
	l.series[l.end.Generation] = map[chunks.HeadSeriesRef]logged.Series{}
}

// commit logs one sample of each of n series.
func (l *memLog) commit(n int, t int64) {
	var b logged.Batch
	for i := range n {
		ref := chunks.HeadSeriesRef(i + 1)
		l.know(ref, labels.FromStrings("__name__", "m", "n", serial(i)))
		b.Samples = append(b.Samples, record.RefSample{Ref: ref, T: t, V: float64(t)})
	}
	l.write(b)
}

// know makes a series known.
func (l *memLog) know(ref chunks.HeadSeriesRef, ls labels.Labels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.series[l.end.Generation][ref] = logged.Series{Labels: packed.Of(ls), Metadata: l.metadata}
}

// write logs a record.
func (l *memLog) write(b logged.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.Generation, b.Begin = l.end.Generation, l.end
	l.end.Offset += memRecord
	b.End = l.end
	if l.end.Offset >= memSegment*memRecord {
		l.end = logged.Position{Generation: l.end.Generation, Segment: l.end.Segment + 1}
	}
	l.records = append(l.records, b)
}

// drop lets everything before a position go.
func (l *memLog) drop(to logged.Position, reason string) {
	l.mu.Lock()
	var late []*memClaim
	for c := range l.claims {
		if c.at.Before(to) {
			late = append(late, c)
		}
	}
	l.mu.Unlock()
	for _, c := range late {
		c.giveUp(to, reason)
		c.Move(to)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = slices.DeleteFunc(l.records, func(b logged.Batch) bool { return b.Begin.Before(to) })
	l.begin = to
}

func (l *memLog) Begin() logged.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin
}

func (l *memLog) End() logged.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

func (l *memLog) Read(from logged.Position) Reader { return &memReader{log: l, at: from} }

func (l *memLog) Skim(from logged.Position) Reader { return l.Read(from) }

func (l *memLog) Size(from logged.Position) (size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.records {
		if !b.Begin.Before(from) {
			size += memRecord
		}
	}
	return size
}

func (l *memLog) Budget() (left time.Duration, known bool) { return 0, false }

func (l *memLog) Claim(from logged.Position, giveUp func(logged.Position, string)) Claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &memClaim{log: l, at: from, giveUp: giveUp}
	l.claims[c] = struct{}{}
	return c
}

// lowest is before what any claim needs.
func (l *memLog) lowest() logged.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	low := l.end
	for c := range l.claims {
		if c.at.Before(low) {
			low = c.at
		}
	}
	return low
}

func (c *memClaim) Move(to logged.Position) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if c.at.Before(to) {
		c.at = to
	}
}

func (c *memClaim) Drop() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	delete(c.log.claims, c)
}

type memReader struct {
	log        *memLog
	at         logged.Position
	generation uint64
}

func (r *memReader) Next(b *logged.Batch) bool {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	b.Reset()
	if r.log.unreadable {
		return false
	}
	for i := range r.log.records {
		rec := &r.log.records[i]
		if rec.Begin.Before(r.at) {
			continue
		}
		b.Generation, b.Begin, b.End = rec.Generation, rec.Begin, rec.End
		b.Samples = append(b.Samples, rec.Samples...)
		b.Histograms = append(b.Histograms, rec.Histograms...)
		b.FloatHistograms = append(b.FloatHistograms, rec.FloatHistograms...)
		b.Exemplars = append(b.Exemplars, rec.Exemplars...)
		r.at, r.generation = rec.End, rec.Generation
		return true
	}
	if r.at.Before(r.log.end) {
		r.at = r.log.end
	}
	return false
}

func (r *memReader) Position() logged.Position { return r.at }

func (r *memReader) Series(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	s, ok := r.log.series[r.generation][ref]
	return s, ok
}

func (r *memReader) Close() error { return nil }

// rig is a shipper that reads a memLog.
type rig struct {
	*Shipper

	t   *testing.T
	log *memLog
	dir string
	reg *prometheus.Registry
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, log: newMemLog(), dir: t.TempDir()}
	r.open()
	t.Cleanup(r.kill)
	return r
}

func (r *rig) open() {
	r.reg = prometheus.NewPedanticRegistry()
	r.Shipper = New(Options{
		Dir: r.dir, Logger: log.NewNopLogger(), Registry: r.reg, Log: r.log,
		FlushDeadline: time.Minute, Retention: time.Hour,
	})
}

// kill ends the shipper as the end of its process would: nothing is flushed.
func (r *rig) kill() {
	for _, d := range *r.running.Load() {
		d.stop()
		<-d.done
		d.claim.Drop()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.dormant {
		d.expiry.Stop()
		d.claim.Drop()
	}
	r.closed = true
}

// restart is a kill and a new process.
func (r *rig) restart() {
	r.kill()
	r.log.restart()
	r.open()
}

func (r *rig) commit(series int, t int64) {
	r.Committing(series)
	r.log.commit(series, t)
	r.Committed(series, 0, 0, t)
}

// apply applies a config of remote_write sections.
func (r *rig) apply(remoteWrite string) {
	r.t.Helper()
	if err := r.Apply(parse(r.t, remoteWrite)); err != nil {
		r.t.Fatal(err)
	}
}

func parse(tb testing.TB, remoteWrite string) *config.Config {
	tb.Helper()
	return parseWith(tb, "{clustername: c1, environment: prod, region: r1}", remoteWrite)
}

func parseWith(tb testing.TB, external, remoteWrite string) *config.Config {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "config.yaml")
	text := "global:\n  external_labels: " + external + "\nremote_write:\n" + remoteWrite
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	cfg, err := config.Load(file, config.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}

// until polls for something that must come soon.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
