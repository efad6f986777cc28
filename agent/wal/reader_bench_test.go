// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/logged"
)

func BenchmarkReader(b *testing.B) {
	for _, compress := range compressions() {
		for _, current := range []uint64{1, 2} {
			name := map[uint64]string{1: "current", 2: "old"}[current]
			b.Run(fmt.Sprintf("%s/%s", compress, name), func(b *testing.B) { benchmarkReader(b, compress, current) })
		}
	}
}

// benchmarkReader reads scrapes of 1,000 series.
func benchmarkReader(b *testing.B, compress compression.Type, current uint64) {
	b.Helper()
	const scrapes, series = 2000, 1000
	f := newFolder(b, current)
	f.put(logFile(1, 0))
	l, err := wlog.NewSize(promslog.NewNopLogger(), prometheus.NewRegistry(), f.dir+"/"+folderName(1), 128*pageSize, compress)
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	samples := make([]record.RefSample, series)
	var refs []int
	for i := range samples {
		samples[i].Ref = chunks.HeadSeriesRef(i + 1)
		refs = append(refs, i+1)
	}
	if err := l.Log(seriesRecord(refs...)); err != nil {
		b.Fatal(err)
	}
	var rec []byte
	for i := range scrapes {
		for j := range samples {
			samples[j].T = int64(i) * 15_000
			samples[j].V += float64(rnd.IntN(50) * (j % 2))
		}
		rec = new(record.Encoder).Samples(samples, rec[:0])
		b.SetBytes(int64(len(rec)) * scrapes)
		if err := l.Log(rec); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	d := newDamage(prometheus.NewRegistry(), log.NewNopLogger())
	var batch logged.Batch
	b.ReportAllocs()
	for b.Loop() {
		r := newReader(f, noTable, logged.Position{}, d)
		n := 0
		for r.Next(&batch) {
			n += len(batch.Samples)
		}
		if n != scrapes*series {
			b.Fatalf("read %d samples", n)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*scrapes*series/b.Elapsed().Seconds(), "samples/s")
}
