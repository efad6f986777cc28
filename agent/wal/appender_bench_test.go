// SPDX-License-Identifier: Apache-2.0

package wal

import (
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
	series := make([]labels.Labels, 1000)
	refs := make([]storage.SeriesRef, len(series))
	for i := range series {
		series[i] = labels.FromStrings("__name__", "http_requests_total", "code", "200", "instance", "10.0.0.1:9090",
			"job", "app", "namespace", "default", "pod", "app-7d9c5b9c8f-abcde", "handler", strconv.Itoa(i))
	}
	opts := storage.AOptions{Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests."}}
	at := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		at++
		app := l.AppenderV2(b.Context())
		for i, ls := range series {
			ref, err := app.Append(refs[i], ls, 0, at, 1, nil, nil, opts)
			if err != nil {
				b.Fatal(err)
			}
			refs[i] = ref
		}
		if err := app.Rollback(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(series)), "ns/sample")
}
