// SPDX-License-Identifier: Apache-2.0

//go:build unix

package wal

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/logged"
)

// TestASampleTakesFewerBytesThanInPrometheus logs a quarter of an hour of a node,
// checkpoints included, and compares what that took of the disk with what the
// samples alone take as Prometheus's agent writes them.
func TestASampleTakesFewerBytesThanInPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const targets, series, minutes = 20, 500, 16
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		l, _ := open(t, dir, &follower{}, func(o *Options) {
			o.Compression, o.CheckpointFromInMemorySeries = compression.Snappy, true
		})
		defer closeLog(t, l)
		defer running(t, l)()
		claim := l.Claim(l.Begin(), nil)
		defer claim.Drop()
		node, theirs := newNode(targets, series), 0
		checkpoints, checkpointed := int64(-1), int64(0)
		for range minutes * 4 {
			theirs += node.scrape(t, l)
			claim.Move(l.End())
			time.Sleep(15 * time.Second)
			if size, last := l.hold.newestCheckpoint(), int64(l.hold.lowestLogged()); last > checkpoints {
				checkpoints, checkpointed = last, checkpointed+size
			}
		}
		written, _ := l.hold.written(l.lowest())
		n := float64(targets * series * minutes * 4)
		t.Logf("%.2f bytes a sample, of which %.2f are checkpoints; Prometheus's records take %.2f", float64(written+checkpointed)/n, float64(checkpointed)/n, float64(theirs)/n)
		if checkpointed == 0 || float64(written+checkpointed) > 0.8*float64(theirs) {
			t.Errorf("%d bytes were logged and %d are of checkpoints, in Prometheus %d bytes are of samples alone", written, checkpointed, theirs)
		}
	})
}

// node is what the scrapes of some targets bring, of counters whose values are
// as different as those of real ones.
type node struct {
	names  [][]labels.Labels
	refs   [][]storage.SeriesRef
	number int64
}

func newNode(targets, series int) *node {
	n := &node{}
	for target := range targets {
		names := make([]labels.Labels, series)
		for i := range names {
			names[i] = labels.FromStrings("__name__", "load_value", "instance", "127.0.0.1:"+strconv.Itoa(10000+target), "job", "load",
				"namespace", "shop", "pod", "checkout-7d9f8b6c5-x2x7k", "route", "/api/v1/orders", "series", strconv.Itoa(i))
		}
		n.names, n.refs = append(n.names, names), append(n.refs, make([]storage.SeriesRef, series))
	}
	return n
}

// scrape commits one of each target, and returns how many bytes Prometheus's
// agent makes of the samples.
func (n *node) scrape(t *testing.T, l *Log) (theirs int) {
	t.Helper()
	n.number++
	var encoder record.Encoder
	for target, names := range n.names {
		app, at := l.AppenderV2(t.Context()), time.Now().UnixMilli()
		var samples []record.RefSample
		for i, ls := range names {
			v := float64(n.number + int64(uint32(i+1)*2654435761>>20)<<20)
			ref, err := app.Append(n.refs[target][i], ls, 0, at, v, nil, nil, storage.AOptions{})
			if err != nil {
				t.Fatal(err)
			}
			n.refs[target][i] = ref
			samples = append(samples, record.RefSample{Ref: chunks.HeadSeriesRef(ref), T: at, V: v})
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		theirs += len(snappy.Encode(nil, encoder.Samples(samples, nil)))
	}
	return theirs
}

// The records have room for start timestamps in any case, but they are logged
// where that is asked for only, as Prometheus's agent does it.
func TestStartTimestampsAreLoggedWhenAskedFor(t *testing.T) {
	const start = 500
	for name, tc := range map[string]struct {
		zero, stored bool
		want         []int64 // of a zero sample, if there is one, and of the sample
	}{
		"not asked for":              {want: []int64{0}},
		"asked for":                  {stored: true, want: []int64{start}},
		"as zero samples":            {zero: true, want: []int64{0, 0}},
		"as zero samples and stored": {zero: true, stored: true, want: []int64{0, start}},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := open(t, t.TempDir(), &follower{}, func(o *Options) { o.StartTimestamps, o.StartTimestampZeroSamples = tc.stored, tc.zero })
			defer closeLog(t, l)
			app := l.AppenderV2(t.Context())
			if _, err := app.Append(0, labels.FromStrings("__name__", "a"), start, 1000, 1, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := app.Commit(); err != nil {
				t.Fatal(err)
			}
			r := l.Reader(l.Begin())
			defer r.Close()
			var got []int64
			for b := (logged.Batch{}); r.Next(&b); {
				for _, s := range b.Samples {
					got = append(got, s.ST)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("start timestamps %v, want %v", got, tc.want)
			}
		})
	}
}
