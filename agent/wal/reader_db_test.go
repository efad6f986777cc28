// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/logged"
	"torchbearer/agent/upstream/tsdb/agent"
)

// database is tsdb/agent with small segments, whose log is the generation 1 of
// a folder.
func database(t *testing.T, compress compression.Type) (*agent.DB, *folder) {
	t.Helper()
	f, dir := newFolder(t, 1), t.TempDir()
	sent := remote.NewStorage(promslog.NewNopLogger(), prometheus.NewRegistry(), nil, dir, 0, nil, false)
	opts := agent.DefaultOptions()
	opts.WALSegmentSize = 4 * pageSize
	opts.WALCompression = compress
	db, err := agent.Open(promslog.NewNopLogger(), prometheus.NewRegistry(), sent, dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := sent.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.Symlink(filepath.Join(dir, "wal"), filepath.Join(f.dir, folderName(1))); err != nil {
		t.Fatal(err)
	}
	return db, f
}

// scrape commits a sample of each of some series of a target.
func scrape(t *testing.T, db *agent.DB, target, series int, at int64) {
	t.Helper()
	app := db.AppenderV2(t.Context())
	for i := range series {
		l := labels.FromStrings("__name__", "m", "target", strconv.Itoa(target), "series", strconv.Itoa(i))
		if _, err := app.Append(0, l, 0, at, float64(i), nil, nil, storage.AOptions{}); err != nil {
			t.Error(err)
			return
		}
	}
	if err := app.Commit(); err != nil {
		t.Error(err)
	}
}

func TestReaderFollowsALogBeingWritten(t *testing.T) {
	const targets, scrapes, most = 3, 150, 700
	db, f := database(t, compression.Snappy)
	var writing sync.WaitGroup
	want := 0
	for target := range targets {
		sizes := make([]int, scrapes)
		rnd := rand.New(rand.NewPCG(uint64(target), 5))
		for i := range sizes {
			sizes[i] = 1 + rnd.IntN(most)
			want += sizes[i]
		}
		writing.Go(func() {
			for i, series := range sizes {
				scrape(t, db, target, series, int64(i+1))
			}
		})
	}
	written := make(chan struct{})
	go func() { writing.Wait(); close(written) }()

	d, counted := f.damage()
	newest := map[chunks.HeadSeriesRef]int64{}
	r := f.reader(logged.Position{}, d)
	var b logged.Batch
	got := 0
	for deadline := (time.Time{}); got < want; { // zero until all is written
		if !r.Next(&b) {
			select {
			case <-written:
				if deadline.IsZero() {
					deadline = time.Now().Add(20 * time.Second)
				}
				if time.Now().After(deadline) {
					t.Fatalf("read %d of %d samples", got, want)
				}
			default:
			}
			time.Sleep(100 * time.Microsecond)
			continue
		}
		for _, s := range b.Samples {
			if s.T <= newest[s.Ref] {
				t.Fatalf("series %d has a sample of %d after one of %d", s.Ref, s.T, newest[s.Ref])
			}
			newest[s.Ref] = s.T
		}
		got += len(b.Samples)
		if got%7 == 0 { // another reader goes on where this one is
			r = f.reader(r.Position(), d)
		}
	}
	<-written
	if r.Next(&b) || got != want {
		t.Errorf("read %d samples, want %d", got, want)
	}
	if r.Position().Segment < 5 {
		t.Errorf("only at %s", r.Position())
	}
	for _, reason := range []string{reasonTorn, reasonChecksum, reasonFormat, reasonUndecodable, reasonMissingSegment} {
		if n := counted(reason); n != 0 {
			t.Errorf("%g %s", n, reason)
		}
	}

	// As a log of an earlier process it has all its series.
	f.now = 2
	r = f.reader(logged.Position{}, d)
	for got = 0; r.Next(&b); got += len(b.Samples) {
		for _, s := range b.Samples {
			if series, ok := r.Series(s.Ref); !ok || series.Labels.Get("series") != fmt.Sprint(s.V) {
				t.Fatalf("series %d of value %g is %s", s.Ref, s.V, series.Labels)
			}
		}
	}
	if got != want {
		t.Errorf("read %d samples of the old generation, want %d", got, want)
	}
}
