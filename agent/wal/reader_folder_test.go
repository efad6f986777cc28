// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

// folder is a hold as a plain directory of generations.
type folder struct {
	t   testing.TB
	dir string
	now uint64
	err error // of every list, when it is set
}

func newFolder(tb testing.TB, current uint64) *folder {
	tb.Helper()
	return &folder{t: tb, dir: tb.TempDir(), now: current}
}

func (f *folder) current() uint64 { return f.now }

func (f *folder) list(prefix string, path ...string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(append([]string{f.dir}, path...)...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || f.err != nil {
		return nil, errors.Join(err, f.err)
	}
	var numbers []int
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(number); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers, nil
}

func folderName(g uint64) string { return fmt.Sprintf("%08d", g) }

func (f *folder) generations() ([]uint64, error) {
	numbers, err := f.list("")
	generations := make([]uint64, len(numbers))
	for i, n := range numbers {
		generations[i] = uint64(n)
	}
	return generations, err
}

func (f *folder) segments(g uint64) ([]int, error) { return f.list("", folderName(g)) }

func (f *folder) checkpoints(g uint64) ([]int, error) {
	return f.list("checkpoint.", folderName(g))
}

func (f *folder) checkpointSegments(g uint64, n int) ([]int, error) {
	return f.list("", folderName(g), fmt.Sprintf("checkpoint.%08d", n))
}

func (f *folder) open(name heldFile) (*os.File, error) {
	return openSegment(filepath.Join(f.dir, name.String()))
}

// put writes a segment of records.
func (f *folder) put(name heldFile, records ...[]byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, name.String())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		f.t.Fatal(err)
	}
	w := segmentWriter{to: file, page: int(info.Size() % pageSize)}
	for _, r := range records {
		if err := w.write(0, r); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) damage() (*damage, func(reason string) float64) {
	d := newDamage(prometheus.NewRegistry(), log.NewNopLogger())
	return d, func(reason string) float64 { return testutil.ToFloat64(d.records.WithLabelValues(reason)) }
}

func (f *folder) reader(at logged.Position, d *damage) *Reader {
	r := newReader(f, noTable, at, d)
	f.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return r
}

func noTable(chunks.HeadSeriesRef) (logged.Series, bool) { return logged.Series{}, false }

func logFile(generation uint64, segment int) heldFile {
	return heldFile{generation, noCheckpoint, segment}
}

func seriesRecord(refs ...int) []byte {
	var series []record.RefSeries
	for _, r := range refs {
		series = append(series, record.RefSeries{Ref: chunks.HeadSeriesRef(r), Labels: labels.FromStrings("__name__", fmt.Sprint("m", r))})
	}
	return new(record.Encoder).Series(series, nil)
}

func metadataRecord(ref int, help string) []byte {
	return new(record.Encoder).Metadata([]record.RefMetadata{{Ref: chunks.HeadSeriesRef(ref), Type: uint8(record.Gauge), Unit: "u", Help: help}}, nil)
}

// sampleRecord has samples of one timestamp.
func sampleRecord(t int64, refs ...int) []byte {
	var samples []record.RefSample
	for _, r := range refs {
		samples = append(samples, record.RefSample{Ref: chunks.HeadSeriesRef(r), T: t, V: float64(r)})
	}
	return new(record.Encoder).Samples(samples, nil)
}

// drain reads what there is now as "timestamp ref{labels}".
func drain(r *Reader) []string {
	var got []string
	var b logged.Batch
	for r.Next(&b) {
		for _, s := range b.Samples {
			line := fmt.Sprint(s.T, " ", s.Ref)
			if series, ok := r.Series(s.Ref); ok {
				line += series.Labels.String()
			}
			got = append(got, line)
		}
	}
	return got
}
