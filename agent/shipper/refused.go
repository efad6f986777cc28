// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"torchbearer/config"
)

// Why a receiver refused samples for good, as far as its words tell.
const (
	refusedOutOfOrder  = "out_of_order"
	refusedDuplicate   = "duplicate"
	refusedTooOld      = "too_old"
	refusedOutOfBounds = "out_of_bounds"
	refusedInvalid     = "invalid"
	refusedTooLarge    = "too_large"
	refusedOther       = "refused_other"
)

const (
	maxRefused     = 100     // entries that are kept
	maxSeriesWords = 1 << 10 // bytes of a series in an entry
	// refusedEvery is how often each reason is logged.
	refusedEvery = time.Minute
)

// refusal is points that a receiver refused for good. count of them were, which
// ones is not known when it is not all.
type refusal struct {
	points []point
	count  int
	answer answer
}

// refusedEntry is a refusal as people see it.
type refusedEntry struct {
	Time   time.Time
	Reason string
	Status int
	Words  string // the receiver's
	Series string // "" when there were several in the request
	// Samples were refused; histograms count as such. 0 is exemplars only.
	Samples int
}

// refusedLog keeps the last refusals and logs some. It is for concurrent use.
type refusedLog struct {
	logger log.Logger

	mu     sync.Mutex // guards the fields below
	last   []refusedEntry
	next   int // index in last of the oldest, once it is full
	logged map[string]*refusedCount
}

// refusedCount is what was refused for a reason since that was logged.
type refusedCount struct {
	at      time.Time
	samples int
}

func newRefusedLog(logger log.Logger) *refusedLog {
	return &refusedLog{logger: logger, logged: map[string]*refusedCount{}}
}

// note counts and keeps a refusal, and returns its reason.
func (s *sender) note(m *sendMetrics, r refusal) string {
	reason := reasonOf(r.answer.status, r.answer.words)
	m.refused(reason, r.count)
	s.refused.add(reason, r)
	return reason
}

func (l *refusedLog) add(reason string, r refusal) {
	entry := refusedEntry{
		Time: time.Now(), Reason: reason, Status: r.answer.status, Words: r.answer.words, Samples: r.count,
	}
	if n := len(r.points); n > 0 && r.points[0].series == r.points[n-1].series {
		entry.Series = shorten(config.HideSecrets(r.points[0].series.labels().String()), maxSeriesWords)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) < maxRefused {
		l.last = append(l.last, entry)
	} else {
		l.last[l.next] = entry
		l.next = (l.next + 1) % maxRefused
	}
	count := l.logged[reason]
	if count == nil {
		count = &refusedCount{}
		l.logged[reason] = count
	}
	count.samples += r.count
	if entry.Time.Sub(count.at) < refusedEvery {
		return
	}
	level.Warn(l.logger).Log("msg", "the receiver refused samples for good", "reason", reason, "samples", count.samples,
		"status", entry.Status, "answer", entry.Words, "series", entry.Series)
	count.at, count.samples = entry.Time, 0
}

// snapshot returns the last refusals, the newest first.
func (l *refusedLog) snapshot() []refusedEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]refusedEntry, 0, len(l.last))
	for i := range l.last {
		all = append(all, l.last[(l.next+len(l.last)-1-i)%len(l.last)])
	}
	return all
}

// reasonOf reads the receiver's words, only to count by them.
func reasonOf(status int, words string) string {
	if status == http.StatusRequestEntityTooLarge {
		return refusedTooLarge
	}
	words = strings.NewReplacer("-", " ", "_", " ").Replace(strings.ToLower(words))
	for _, known := range []struct{ reason, words string }{
		{refusedDuplicate, "duplicate sample"},
		{refusedDuplicate, "duplicate timestamp"},
		{refusedDuplicate, "different value but same timestamp"},
		{refusedTooOld, "too old"},
		{refusedTooOld, "too far in the past"},
		{refusedOutOfOrder, "out of order"},
		{refusedOutOfBounds, "out of bounds"},
		{refusedOutOfBounds, "too far in the future"},
		{refusedOutOfBounds, "too far into the future"},
		{refusedTooLarge, "too large"},
		{refusedTooLarge, "too long"},
		{refusedTooLarge, "exceed"},
		{refusedInvalid, "invalid"},
		{refusedInvalid, "not valid"},
		{refusedInvalid, "label"},
	} {
		if strings.Contains(words, known.words) {
			return known.reason
		}
	}
	return refusedOther
}
