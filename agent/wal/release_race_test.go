// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/agent/logged"
)

// TestWhatIsListedCanBeOpened opens segments all the time while they are
// stripped. Once a reader found one listed whose file was removed a moment
// before, went on without its series, and their samples were lost.
func TestWhatIsListedCanBeOpened(t *testing.T) {
	const segments = 40
	dir := t.TempDir()
	first := filepath.Join(dir, holdFolder, "00000001")
	for i := range segments {
		putFile(t, segmentName(first, i), seriesOf(i), samplesOf(int64(i), i))
	}
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	done, opened := make(chan struct{}), make(chan error, 1)
	go func() { opened <- openAll(view{l.hold}, segments, done) }()
	for i := range segments {
		l.hold.release(logged.Position{Generation: 1, Segment: i})
	}
	close(done)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	equal(t, segments-1, strings.Count(heldNames(t, dir), strippedSuffix))
}

// openAll opens all segments of the first generation, again and again.
func openAll(v view, segments int, done <-chan struct{}) error {
	for {
		for i := range segments {
			file, err := v.open(heldFile{1, noCheckpoint, i})
			if err == nil {
				err = file.Close()
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

func TestASegmentThatSomeoneRemovesIsCounted(t *testing.T) {
	dir := generations(t)
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	l.Claim(logged.Position{}, nil)
	first := filepath.Join(dir, holdFolder, "00000001")
	for _, path := range []string{segmentName(first, 3), segmentName(checkpointName(first, 5), 0)} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	found := strings.Join(samples(t, l, logged.Position{}), " ")
	if strings.Contains(found, "s3@3") || !strings.Contains(found, "s4@4") {
		t.Errorf("read: %s", found)
	}
	if n := testutil.ToFloat64(l.damage.records.WithLabelValues(reasonMissingSegment)); n != 2 {
		t.Errorf("%g counted as missing, want the segment and the checkpoint", n)
	}
}
