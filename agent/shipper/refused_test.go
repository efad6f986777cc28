// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

func TestRefusedLogIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newRefusedLog(log.NewLogfmtLogger(&out))
		for i := range 250 {
			l.add(refusedInvalid, refusal{points: makePoints(1, 1), count: 2, answer: answer{status: 400, words: strconv.Itoa(i)}})
			time.Sleep(time.Second)
		}
		got := l.snapshot()
		if len(got) != maxRefused || got[0].Words != "249" || got[maxRefused-1].Words != "150" {
			t.Errorf("%d entries, from %+v to %+v", len(got), got[0], got[len(got)-1])
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 5 || !strings.Contains(lines[0], "samples=2 ") || !strings.Contains(lines[1], "samples=120 ") {
			t.Errorf("the log is\n%s", out.String())
		}
	})
}

// A series is told without what is secret in it, and none of that is left by the cut.
func TestRefusedSeriesShowNoSecret(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newRefusedLog(log.NewLogfmtLogger(&out))
	points := makePoints(1, 1)
	for _, before := range []int{10, maxSeriesWords - 20} {
		points[0].series.logged = packed.Of(labels.FromStrings("a", strings.Repeat("a", before)+"//u:hunter2@b"))
		l.add(refusedInvalid, refusal{points: points, count: 1, answer: answer{status: 400}})
		if got := l.snapshot()[0].Series; strings.Contains(got+out.String(), "hunt") || len(got) > maxSeriesWords {
			t.Errorf("told is %s", got)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		words  string
		want   string
	}{
		{400, "out of order sample", refusedOutOfOrder},
		{400, "the sample has been rejected because another sample with a more recent timestamp has already been ingested and out-of-order samples are not allowed (err-mimir-sample-out-of-order)", refusedOutOfOrder},
		{400, "duplicate sample for timestamp", refusedDuplicate},
		{400, "err-mimir-sample-duplicate-timestamp", refusedDuplicate},
		{409, "store locally for endpoint: conflict: out of order sample", refusedOutOfOrder},
		{400, "out of bounds", refusedOutOfBounds},
		{400, "timestamp too far in the future (err-mimir-too-far-in-future): too far in the future", refusedOutOfBounds},
		{400, "too old sample", refusedTooOld},
		{400, "the sample timestamp is too far in the past", refusedTooOld},
		{400, "invalid metric name or labels, got {}", refusedInvalid},
		{400, "label value too long", refusedTooLarge},
		{413, "", refusedTooLarge},
		{422, "", refusedOther},
		{400, "Bad Request", refusedOther},
	} {
		if got := reasonOf(c.status, c.words); got != c.want {
			t.Errorf("%d %q: got %s, want %s", c.status, c.words, got, c.want)
		}
	}
}
