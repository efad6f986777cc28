// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"
	"time"

	"torchbearer/agent/logged"
)

// ledger says what became of every sample and histogram that was there for a
// destination, to the sample: of what the log had when it began, and of what is
// given to the log since. What is neither sent nor lost nor left out is pending.
// Its methods may be called concurrently.
//
// What the log had is counted by reading it, by whoever reads a record first:
// the destination, or a pass of its own (see inherit). What came since is counted
// when it is given to the log. The two are held against what was read whenever
// all is read: damage shows then.
type ledger struct {
	intake *intake
	since  time.Time
	from   logged.Position // what is logged from there on is given since
	before supplied
	exact  bool // before and from are of one moment

	mu        sync.Mutex // guards the fields below
	inherited int64
	counted   logged.Position // what is before from is inherited up to there
	resuming  bool            // the window of the process before has not been read
	found     int64           // read, but never given: a commit that failed had left it, say
	read      int64           // by the destination, of what it is to send
	sent      int64
	lost      map[string]int64
	left      leftOut
	owed      int // by sent: points that were sent twice
	ruleSet   string
	ruled     time.Time // since when ruleSet is what it is
	oldest    int64     // timestamp of the oldest point of the window; noTime
	allAt     time.Time // when nothing was pending last
	short     int64     // what was missing when all was read last
	shortAt   time.Time // since when
}

const noTime = int64(-1 << 63)

// newLedger begins one for a destination that begins at a state of its journal.
func newLedger(in *intake, log Log, st *state, rules string) *ledger {
	l := &ledger{intake: in, since: time.Now(), lost: map[string]int64{}, counted: st.Sent, ruleSet: rules, oldest: noTime}
	l.ruled = l.since
	l.from, l.before, l.exact = in.at(log.End)
	switch w := st.Window; {
	case st.Sent.Generation > l.from.Generation:
		l.counted = logged.Position{} // The journal is of another log.
	case w != nil:
		// How much of it has no answer is known for sure when it is cut again.
		l.inherited, l.counted, l.resuming = int64(w.Points), w.End, true
	}
	return l
}

// saw notes a record that the destination has read.
func (l *ledger) saw(b *logged.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read += int64(b.Points())
	l.count(b)
}

// count notes what is inherited. The caller holds mu.
func (l *ledger) count(b *logged.Batch) {
	switch {
	case !l.counted.Before(l.from):
	case !b.Begin.Before(l.from):
		l.counted = l.from
	case l.counted.Before(b.End):
		l.inherited += int64(b.Points())
		l.counted = b.End
	}
}

// resumed notes how many points of the window of the process before have no
// answer: so many stood in its journal, and so many the log has.
func (l *ledger) resumed(stood, has int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inherited += int64(has - stood)
	l.read += int64(has)
	l.resuming = false
}

// abandoned notes that the window of the process before is lost.
func (l *ledger) abandoned(points int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read += int64(points)
	l.lost[reason] += int64(points)
	l.resuming = false
}

// settle notes what became of points. set is by what they were to be sent.
func (l *ledger) settle(f *fates, set *settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	paid := min(l.owed, f.sent)
	l.owed -= paid
	l.sent += int64(f.sent - paid)
	for reason, n := range f.lost {
		l.lost[reason] += int64(n)
	}
	left := f.left
	if l.ruleSet != set.Rules {
		left.rules = nil // They are of rules that are there no more.
	}
	l.left.add(&left)
}

// correct notes that so many points too many, or too few if negative, were
// settled: when settings change halfway one may be sent twice.
func (l *ledger) correct(tooMany int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if tooMany >= 0 {
		l.owed += tooMany
	} else {
		l.left.classicNot -= tooMany
	}
}

// rule counts rules anew when they are others.
func (l *ledger) rule(set *settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ruleSet != set.Rules {
		l.ruleSet, l.ruled, l.left.rules = set.Rules, time.Now(), nil
	}
}

// begins notes the oldest timestamp of the window, or noTime when there is
// nothing to send.
func (l *ledger) begins(oldest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oldest = oldest
}

// shortPatience is how long what was logged may not be there to be read.
const shortPatience = 30 * time.Second

// all notes that the destination has read, and settled, all that the log had at
// a quiet moment. What was given and is not there is damaged, if atEnd says that
// there is nothing behind it, or it stays so.
func (l *ledger) all(until supplied, atEnd func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted, l.oldest = l.from, noTime
	missing := l.inherited + l.found + until.since(l.before).logged() - l.read
	switch {
	case missing < 0 || !l.exact:
		l.found -= missing
		l.exact = true
	case missing == 0:
	case !atEnd() && (missing != l.short || time.Since(l.shortAt) < shortPatience):
		if missing != l.short {
			l.short, l.shortAt = missing, time.Now()
		}
		return
	default:
		l.lost[lostDamaged] += missing
		l.read += missing
	}
	l.short, l.allAt = 0, time.Now()
}
