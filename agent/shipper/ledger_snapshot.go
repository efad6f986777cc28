// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"time"

	"torchbearer/agent/status"
)

// snapshot is the ledger at one moment.
func (l *ledger) snapshot() status.Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := status.Ledger{
		Since: l.since, Inherited: l.inherited, Sent: l.sent, Counting: l.counting(),
		Lost: map[string]int64{}, LeftOut: map[string]int64{
			leftRule: int64(l.left.rule), leftHistogram: int64(l.left.histogram),
			leftRepeat: int64(l.left.repeat), leftClassicNot: int64(l.left.classicNot),
		},
	}
	for _, reason := range lostReasons() {
		s.Lost[reason] = l.lost[reason]
	}
	came := l.intake.given().since(l.before)
	s.Lost[lostNoSpace] += came.noSpace
	s.Lost[lostUnwritten] += came.unwritten
	s.Scraped = l.inherited + l.found + came.points
	s.Pending = s.Scraped - s.Sent
	for _, n := range s.Lost {
		s.Pending -= n
	}
	for _, n := range s.LeftOut {
		s.Pending -= n
	}
	if s.Pending < 0 {
		// It was read and never given, which shows before all is read.
		l.found -= s.Pending
		s.Scraped -= s.Pending
		s.Pending = 0
	}
	return s
}

// counting says whether what is inherited is not known yet. The caller holds mu.
func (l *ledger) counting() bool { return l.resuming || l.counted.Before(l.from) }

// pending is how many points have no answer yet.
func (l *ledger) pending() int64 { return l.snapshot().Pending }

// oldestPending is the timestamp of the oldest point without an answer, and for
// how long it may have been waiting: a target can expose one that is old.
func (l *ledger) oldestPending() (at time.Time, waiting time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at = time.UnixMilli(l.oldest)
	waiting = max(time.Since(at), 0)
	if !l.allAt.IsZero() {
		waiting = min(waiting, time.Since(l.allAt))
	}
	return at, waiting, l.oldest != noTime
}

// ruleCounts are what the rules of set have dropped, and since when they count.
func (l *ledger) ruleCounts(set *settings) (counts []int64, since time.Time) {
	counts = make([]int64, len(set.relabel))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ruleSet != set.Rules {
		return counts, time.Now()
	}
	for i, n := range l.left.rules[:min(len(l.left.rules), len(counts))] {
		counts[i] = int64(n)
	}
	return counts, l.ruled
}
