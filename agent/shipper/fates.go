// SPDX-License-Identifier: Apache-2.0

package shipper

import "maps"

// Why samples were lost to a destination; what receivers refuse has the reasons
// of refused.go.
const (
	lostBudget    = "budget"           // the disk budget was spent
	lostRetention = "retention"        // they were too old to be kept
	lostUnknown   = "unknown_series"   // the record with their labels is damaged or gone
	lostDamaged   = "damaged"          // they were logged, and the log did not give them back
	lostNoSpace   = "no_space"         // there was no room to log them
	lostUnwritten = "write_error"      // they could not be logged for another reason
	lostAge       = "sample_age_limit" // they were older than queue_config.sample_age_limit
)

// Why samples are not meant to be sent.
const (
	leftRule       = "write_relabel"    // a rule of write_relabel_configs drops them
	leftHistogram  = "native_histogram" // send_native_histograms is off
	leftRepeat     = "repeated"         // the log has them a second time
	leftClassicNot = "not_convertible"  // convert_nhcb_to_classic has no classic form for them
)

func lostReasons() []string {
	return []string{
		lostBudget, lostRetention, lostUnknown, lostDamaged, lostNoSpace, lostUnwritten, lostAge,
		refusedOutOfOrder, refusedDuplicate, refusedTooOld, refusedOutOfBounds, refusedInvalid, refusedTooLarge, refusedOther,
	}
}

// fates are what became of points of the log, which count once each whatever
// they are sent as. The zero value is of none.
type fates struct {
	sent int
	lost map[string]int // nil until something was
	left leftOut
}

// leftOut are points that are not meant to be sent, by why.
type leftOut struct {
	rule, histogram, repeat, classicNot int

	rules []int // of rule, by the index of the rule; may be short
}

func (f *fates) lose(reason string, n int) {
	if n == 0 {
		return
	}
	if f.lost == nil {
		f.lost = map[string]int{}
	}
	f.lost[reason] += n
}

// missing notes points that were sent, but for some.
func (f *fates) missing(reason string, points, missing int) {
	missing = min(missing, points)
	f.sent += points - missing
	f.lose(reason, missing)
}

// add takes over others.
func (f *fates) add(o *fates) {
	f.sent += o.sent
	for reason, n := range o.lost {
		f.lose(reason, n)
	}
	f.left.add(&o.left)
}

// decided is how many have been sent or lost.
func (f *fates) decided() int {
	n := f.sent
	for _, lost := range f.lost {
		n += lost
	}
	return n
}

// fit makes them be of no more than so many points of the log: one may have been
// sent as two.
func (f *fates) fit(points int) {
	more := f.decided() - points
	if more <= 0 {
		return
	}
	taken := min(more, f.sent)
	f.sent -= taken
	for reason, n := range maps.Clone(f.lost) {
		less := min(more-taken, n)
		f.lost[reason] -= less
		taken += less
	}
}

// drop notes a point that the settings do not want sent.
func (l *leftOut) drop(s *series) {
	if !s.dropped {
		l.histogram++
		return
	}
	l.rule++
	for int(s.rank) >= len(l.rules) {
		l.rules = append(l.rules, 0)
	}
	l.rules[s.rank]++
}

// add takes over what another has; their rules are the same.
func (l *leftOut) add(o *leftOut) {
	l.rule += o.rule
	l.histogram += o.histogram
	l.repeat += o.repeat
	l.classicNot += o.classicNot
	for i, n := range o.rules {
		for i >= len(l.rules) {
			l.rules = append(l.rules, 0)
		}
		l.rules[i] += n
	}
}

func (l *leftOut) total() int { return l.rule + l.histogram + l.repeat + l.classicNot }
