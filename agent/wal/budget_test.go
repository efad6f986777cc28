// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/agent/logged"
)

// slowReader is someone who has claimed the log and reads it to count what goes.
type slowReader struct {
	t     *testing.T
	log   *Log
	at    logged.Position
	claim *Claim

	mu    sync.Mutex
	gone  []string
	calls []string
}

func slow(t *testing.T, l *Log, at logged.Position) *slowReader {
	t.Helper()
	s := &slowReader{t: t, log: l, at: at}
	s.claim = l.Claim(at, s.giveUp)
	return s
}

func (s *slowReader) giveUp(to logged.Position, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.Before(to) {
		s.t.Errorf("%s goes, of one that is at %s", to, s.at)
	}
	s.gone = append(s.gone, samplesUntil(s.t, s.log, s.at, to)...)
	s.at = to
	s.calls = append(s.calls, reason)
}

func (s *slowReader) lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gone)
}

// manySegments makes a directory with an old generation of some segments of
// about 4 KiB that have ten samples each.
func manySegments(t *testing.T, segments int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	first := filepath.Join(dir, holdFolder, "00000001")
	for i := range segments {
		at := int64(i + 1)
		putFile(t, segmentName(first, i), seriesOf(0), samplesOf(at, 0), append(samplesOf(at, 0)[:1], make([]byte, 4000)...))
	}
	return dir
}

func TestTheOldestGoesOverTheBudgetAndIsCounted(t *testing.T) {
	dir := manySegments(t, 40)
	// What is not the log's counts too.
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "ship"), 0o777), os.WriteFile(filepath.Join(dir, "ship", "x"), make([]byte, 20_000), 0o666)); err != nil {
		t.Fatal(err)
	}
	l, reg := open(t, dir, &follower{}, func(o *Options) { o.MaxBytes = 100_000 })
	defer closeLog(t, l)
	mustWrite(t, l, 100, 0, 1)
	all := samples(t, l, logged.Position{})
	behind, ahead := slow(t, l, logged.Position{}), slow(t, l, logged.Position{Generation: 1, Segment: 30})
	l.keep()

	size, err := l.measure()
	if err != nil || size > 100_000 || size < 90_000 {
		t.Errorf("%d bytes are left: %v", size, err)
	}
	left := samples(t, l, behind.at)
	equal(t, all, append(behind.gone, left...))
	if n := len(behind.gone); n < 20 || n > 25 || len(behind.calls) != n || behind.calls[0] != reasonBudget {
		t.Errorf("%d samples went in %v", n, behind.calls)
	}
	if len(ahead.gone) > 0 {
		t.Errorf("%v went of one who had read it", ahead.gone)
	}
	if at := *behind.claim.at.Load(); at != behind.at || l.Begin() != at {
		t.Errorf("the claim is at %s, the log begins at %s, want %s", at, l.Begin(), behind.at)
	}
	if m := l.metrics; testutil.ToFloat64(m.diskBytes) != float64(size) || testutil.ToFloat64(m.maxBytes) != 100_000 || testutil.ToFloat64(m.generations) != 2 {
		t.Errorf("the metrics say otherwise: %v", reg)
	}

	// What the two have read goes without a word.
	behind.claim.Move(logged.Position{Generation: 1, Segment: 38})
	ahead.claim.Move(logged.Position{Generation: 1, Segment: 38})
	l.keep()
	if n := len(behind.calls); len(behind.gone) != n {
		t.Errorf("%v", behind.calls)
	}
}

func TestWhatIsWrittenToNeverGoes(t *testing.T) {
	l, _ := open(t, manySegments(t, 3), &follower{}, func(o *Options) { o.MaxBytes = 1 })
	defer closeLog(t, l)
	s := slow(t, l, logged.Position{})
	mustWrite(t, l, 100, 0, 1)
	for range 3 {
		l.keep()
	}
	equal(t, 3, len(s.gone))
	equal(t, []string{"s0@100"}, samples(t, l, logged.Position{}))
}

// The clock goes on when all wait: on a slow disk no more is written while space
// is being found than on a quick one.
func TestABudgetIsKeptWhileTheLogIsWritten(t *testing.T) {
	const budget = 20 * pageSize
	for name, memory := range map[string]bool{"checkpoints from memory": true, "checkpoints from files": false} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			synctest.Test(t, func(t *testing.T) {
				l, _ := open(t, dir, &follower{}, busy, func(o *Options) {
					o.MaxBytes, o.CheckpointFromInMemorySeries = budget, memory
					o.TruncateFrequency = 200 * time.Millisecond
				})
				defer closeLog(t, l)
				s := slow(t, l, logged.Position{})
				stop := running(t, l)
				largest, last := int64(0), int64(0)
				for begun := time.Now(); s.lost() == 0 || time.Since(begun) < 300*time.Millisecond; time.Sleep(5 * time.Millisecond) {
					last++
					mustWrite(t, l, last, 0, 700)
					if size, err := l.measure(); err == nil {
						largest = max(largest, size)
					}
				}
				stop()
				if largest > budget+8*pageSize {
					t.Errorf("as much as %d bytes, budget %d", largest, budget)
				}
				equal(t, wanted(1, last, 700), append(s.gone, samples(t, l, s.at)...))
			})
		})
	}
}

func TestRetention(t *testing.T) {
	dir := manySegments(t, 10)
	wall := time.Now()
	for i := range 4 {
		at := wall.Add(-30 * time.Hour)
		if err := os.Chtimes(segmentName(filepath.Join(dir, holdFolder, "00000001"), i), at, at); err != nil {
			t.Fatal(err)
		}
	}
	now := wall
	l, _ := open(t, dir, &follower{}, func(o *Options) { o.Now = func() time.Time { return now }; o.SegmentSize = pageSize })
	defer closeLog(t, l)
	s := slow(t, l, logged.Position{})
	for at := range int64(6) {
		mustWrite(t, l, 100+at, 0, 700)
	}
	l.look()
	for _, step := range []struct {
		after time.Duration
		gone  int
	}{
		{0, 0},                // However old: it may be the clock.
		{59 * time.Minute, 0}, //
		{61 * time.Minute, 4}, // It had its chance.
		{23*time.Hour + time.Minute*55, 4},
		{24*time.Hour + time.Minute, -1},
	} {
		now = wall.Add(step.after)
		// The clock of the files says otherwise: it has jumped.
		for _, i := range mustSegments(t, l) {
			at := wall.Add(-48 * time.Hour)
			if err := os.Chtimes(segmentName(l.hold.folder(), i), at, at); err != nil {
				t.Fatal(err)
			}
		}
		l.keep()
		if step.gone >= 0 {
			equal(t, step.gone, len(s.gone))
		}
	}
	if newest := l.hold.newest(); s.at != newest || l.Begin() != newest {
		t.Errorf("at %s, begins at %s, want the segment that is written to, %s", s.at, l.Begin(), newest)
	}
	for _, reason := range s.calls {
		equal(t, reasonRetention, reason)
	}
}
