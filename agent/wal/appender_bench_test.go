// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"strconv"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
)

// What a sample of a series that is known costs on its way into the log, the
// commit left out: scrapes of 1000 series of a target.
//
// Command: go test ./agent/wal -run ^$ -bench Append -benchmem -count 6.
func BenchmarkAppend(b *testing.B) {
	l, _ := open(b, b.TempDir(), &follower{})
	defer closeLog(b, l)
	s := newBenchScrape(1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.append(b.Context(), l).Rollback(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(s.series)), "ns/sample")
}

// TestAppendAllocationBudget: to log a scrape allocates so much for each scrape,
// and nothing for each sample of a known series.
func TestAppendAllocationBudget(t *testing.T) {
	const budget = 60 // a scrape; measured are 13
	l, _ := open(t, t.TempDir(), &follower{})
	defer closeLog(t, l)
	s := newBenchScrape(1000)
	n := testing.AllocsPerRun(50, func() {
		if err := s.append(t.Context(), l).Commit(); err != nil {
			t.Fatal(err)
		}
	})
	if n > budget {
		t.Errorf("%v allocations a scrape of %d series, at most %d are allowed", n, len(s.series), budget)
	}
}

// benchScrape is what a target says again and again.
type benchScrape struct {
	series []labels.Labels
	refs   []storage.SeriesRef
	at     int64
}

func newBenchScrape(series int) *benchScrape {
	s := &benchScrape{refs: make([]storage.SeriesRef, series)}
	for i := range series {
		s.series = append(s.series, labels.FromStrings("__name__", "http_requests_total", "code", "200", "instance", "10.0.0.1:9090",
			"job", "app", "namespace", "default", "pod", "app-7d9c5b9c8f-abcde", "handler", strconv.Itoa(i)))
	}
	return s
}

// append gives a scrape to an appender, which is to be committed.
func (s *benchScrape) append(ctx context.Context, l *Log) storage.AppenderV2 {
	opts := storage.AOptions{Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests."}}
	s.at++
	app := l.AppenderV2(ctx)
	for i, ls := range s.series {
		ref, err := app.Append(s.refs[i], ls, 0, s.at, 1, nil, nil, opts)
		if err != nil {
			panic(err)
		}
		s.refs[i] = ref
	}
	return app
}
