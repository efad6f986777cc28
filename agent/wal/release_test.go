// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
)

// putFile writes records as a segment.
func putFile(t *testing.T, path string, records ...[]byte) {
	t.Helper()
	var b bytes.Buffer
	w := &segmentWriter{to: &b}
	for _, r := range records {
		if err := w.write(0, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, b.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
}

func seriesOf(refs ...int) []byte {
	var all []record.RefSeries
	for _, ref := range refs {
		all = append(all, record.RefSeries{Ref: chunks.HeadSeriesRef(ref), Labels: labels.FromStrings("__name__", fmt.Sprint("s", ref))})
	}
	return new(record.Encoder).Series(all, nil)
}

func samplesOf(at int64, refs ...int) []byte {
	var all []record.RefSample
	for _, ref := range refs {
		all = append(all, record.RefSample{Ref: chunks.HeadSeriesRef(ref), T: at})
	}
	return new(record.Encoder).Samples(all, nil)
}

// generations makes a hold: generation 1 has segments 0 to 9 with a series and
// a sample of that number each and checkpoints 2 and 5; generation 2 has two
// segments.
func generations(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	first := filepath.Join(dir, holdFolder, "00000001")
	for i := range 10 {
		putFile(t, segmentName(first, i), seriesOf(i), samplesOf(int64(i), i, 0))
	}
	putFile(t, segmentName(checkpointName(first, 2), 0), seriesOf(0, 1, 2))
	putFile(t, segmentName(checkpointName(first, 5), 0), seriesOf(0, 1, 2, 3, 4, 5))
	second := filepath.Join(dir, holdFolder, "00000002")
	putFile(t, segmentName(second, 0), seriesOf(0), samplesOf(20, 0))
	putFile(t, segmentName(second, 1), samplesOf(21, 0))
	return dir
}

// heldNames is what is in the hold but for the generation that is written to.
func heldNames(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	for _, path := range listing(t, filepath.Join(dir, holdFolder)) {
		path, _ = strings.CutPrefix(path, filepath.Join(dir, holdFolder)+"/")
		if info, err := os.Lstat(filepath.Join(dir, holdFolder, path)); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(path, "00000003") {
			names = append(names, strings.NewReplacer("0000000", "", "checkpoint.", "c").Replace(path))
		}
	}
	return strings.Join(names, " ")
}

func TestWhatIsNeededStays(t *testing.T) {
	at := func(generation uint64, segment int) logged.Position {
		return logged.Position{Generation: generation, Segment: segment, Offset: 7}
	}
	dir := generations(t)
	l, _ := open(t, dir, &follower{})
	all := samples(t, l, logged.Position{})
	c := l.Claim(logged.Position{}, nil)
	for _, step := range []struct {
		to   logged.Position
		want string
		left int // samples
	}{
		{at(1, 0), "1/0 1/1 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9 1/c2/0 1/c5/0 2/0 2/1", 22},
		{at(1, 2), "1/0.series 1/1.series 1/2 1/3 1/4 1/5 1/6 1/7 1/8 1/9 1/c2/0 1/c5/0 2/0 2/1", 18},
		{at(1, 4), "1/3.series 1/4 1/5 1/6 1/7 1/8 1/9 1/c2/0 1/c5/0 2/0 2/1", 14},
		{at(1, 8), "1/6.series 1/7.series 1/8 1/9 1/c5/0 2/0 2/1", 6},
		{at(1, 10), "1/6.series 1/7.series 1/8.series 1/9.series 1/c5/0 2/0 2/1", 2},
		{at(2, 0), "2/0 2/1", 2},
		{at(2, 1), "2/0.series 2/1", 1},
		{at(3, 0), "", 0},
	} {
		c.Move(step.to)
		c.Move(logged.Position{}) // Never back.
		l.keep()
		if got := heldNames(t, dir); got != step.want {
			t.Errorf("from %s: %s, want %s", step.to, got, step.want)
		}
		step.to.Offset = 0
		equal(t, len(all)-step.left, len(all)-len(samples(t, l, step.to)))
		if begin := l.Begin(); begin.Before(step.to) {
			t.Errorf("from %s: begins at %s", step.to, begin)
		}
		// A restart finds the same, with all labels.
		other, _ := unopened(t, dir, &follower{})
		if _, err := other.hold.scan(time.Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if step.left > 0 {
			equal(t, l.Begin(), other.Begin())
		}
	}
	closeLog(t, l)
}

func TestCheckpointsThatAreWorthItAreKept(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, holdFolder, "00000001")
	big := make([]byte, 100)
	for i := range 40 {
		putFile(t, segmentName(first, i), big)
	}
	for i := 1; i < 40; i += 2 {
		putFile(t, segmentName(checkpointName(first, i), 0), big)
	}
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	// Those of an earlier process were worth it; here they are new.
	for i := range l.hold.held[0].checkpoints {
		l.hold.held[0].checkpoints[i].kept = false
	}
	l.Claim(logged.Position{Generation: 1, Segment: 4}, nil)
	l.keep()
	var kept []int
	for _, c := range l.hold.held[0].checkpoints {
		kept = append(kept, c.index)
	}
	equal(t, []int{3, 11, 19, 27, 35, 39}, kept)
}

func TestWithoutClaimsNothingGoesForAWhile(t *testing.T) {
	dir, now := generations(t), time.Now()
	l, _ := open(t, dir, &follower{}, func(o *Options) { o.Now = func() time.Time { return now }; o.MaxBytes = 1 })
	defer closeLog(t, l)
	l.keep()
	if heldNames(t, dir) == "" {
		t.Error("all went at once")
	}
	now = now.Add(settle)
	l.keep()
	if left := heldNames(t, dir); left != "" {
		t.Errorf("%s is left", left)
	}
}

func TestADroppedClaimHoldsNothing(t *testing.T) {
	dir := generations(t)
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	slow, quick := l.Claim(logged.Position{}, nil), l.Claim(l.End(), nil)
	before := heldNames(t, dir)
	l.keep()
	equal(t, before, heldNames(t, dir))
	slow.Drop()
	slow.Drop()
	l.keep()
	equal(t, "", heldNames(t, dir))
	quick.Drop()
	l.keep()
}

func TestFreeingIsTriedAgain(t *testing.T) {
	dir := generations(t)
	l, _ := open(t, dir, &follower{}, func(o *Options) { o.MaxBytes = 1 })
	defer closeLog(t, l)
	given := 0
	l.Claim(logged.Position{Generation: 1, Segment: 1}, func(logged.Position, string) { given++ })
	l.hold.link = func(string, string) error { return syscall.ENOSPC } // Stripping needs it.
	l.keep()
	if given > 0 || !strings.HasPrefix(heldNames(t, dir), "1/0 1/1 1/2") {
		t.Errorf("given up %d times although it frees nothing: %s", given, heldNames(t, dir))
	}
	l.hold.link = os.Link
	l.keep()
	if given == 0 || heldNames(t, dir) != "" {
		t.Errorf("given up %d times, left %s", given, heldNames(t, dir))
	}
}

func TestNothingGoesThatIsNotHeld(t *testing.T) {
	for name, memory := range map[string]bool{"checkpoints from memory": true, "checkpoints from files": false} {
		t.Run(name, func(t *testing.T) {
			// Nobody runs the log: all depends on what tsdb/agent does itself.
			l, _ := open(t, t.TempDir(), &follower{}, busy, func(o *Options) { o.CheckpointFromInMemorySeries = memory })
			defer closeLog(t, l)
			at := int64(0)
			eventually(t, "truncated", func() bool {
				at++
				mustWrite(t, l, at, 0, 100)
				l.hold.mu.Lock()
				defer l.hold.mu.Unlock()
				return l.hold.first > 5
			})
			// And it waits as long as nothing can be held.
			failing := true
			var mu sync.Mutex
			l.hold.update(func() {
				l.hold.link = func(from, to string) error {
					mu.Lock()
					defer mu.Unlock()
					if failing {
						return syscall.EIO
					}
					return os.Link(from, to)
				}
			})
			begun := time.Now()
			eventually(t, "failed", func() bool {
				at++
				mustWrite(t, l, at, 0, 100)
				return time.Since(begun) > 200*time.Millisecond && testutil.ToFloat64(l.metrics.linksFailed) > 0
			})
			mu.Lock()
			failing = false
			mu.Unlock()
			equal(t, wanted(1, at, 100), samples(t, l, logged.Position{}))
			all := mustSegments(t, l)
			equal(t, all[len(all)-1]+1, len(all))
		})
	}
}

func mustSegments(t *testing.T, l *Log) []int {
	t.Helper()
	v := view{l.hold}
	all, err := v.segments(v.current())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCommitsAreOnTheDiskASecondLater(t *testing.T) {
	l, _ := open(t, t.TempDir(), &follower{}, func(o *Options) { o.SegmentSize = pageSize })
	stop := running(t, l)
	for at := range int64(20) {
		mustWrite(t, l, at, 0, 100)
	}
	stop()
	if end := l.End(); l.hold.synced.segment != end.Segment || l.hold.synced.size != end.Offset {
		t.Errorf("synced is %+v of %s", l.hold.synced, end)
	}
	closeLog(t, l)
}
