// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"fmt"
	"time"
)

// count adds up what the process says that was lost and refused.
func (s *simulation) count() {
	for _, st := range s.agent.shipper.Status() {
		s.sent[st.Name[:1]] += st.Ledger.Sent
	}
	families, err := s.reg.Gather()
	if err != nil {
		s.t.Error(err)
	}
	sums := map[string]map[string]float64{
		"torchbearer_remote_samples_lost_total": s.lost, "torchbearer_remote_samples_refused_total": s.refused,
	}
	for _, f := range families {
		sum := sums[f.GetName()]
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if sum != nil && l.GetName() == "remote_name" {
					sum[l.GetValue()[:1]] += m.GetCounter().GetValue()
				}
			}
		}
	}
}

// finish lets everything arrive and checks it.
func (s *simulation) finish() {
	s.mood(moodWell)
	s.receiver.mu.Lock()
	s.receiver.killIn = 0
	s.receiver.mu.Unlock()
	s.raise()
	if s.config.removed {
		s.config.removed = false
		s.apply()
	}
	s.churn += 1000
	s.commit(1)
	marker := s.committed[len(s.committed)-1]
	deadline := time.Now().Add(10 * time.Minute)
	for !s.drained(marker) {
		if time.Now().After(deadline) {
			s.t.Errorf("not everything is sent: %+v", s.agent.shipper.Status())
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	s.audit()
	s.stop()
	if s.audits == 0 {
		s.t.Error("no ledger was looked at")
	}
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	if n := len(s.receiver.wrong); n > 0 {
		s.t.Errorf("%d things went wrong at the receiver: %v", n, s.receiver.wrong[:min(n, 5)])
	}
	for _, name := range []string{"a", "b"} {
		s.check(name)
	}
}

// drained says whether all was sent, up to the sample that was committed last.
func (s *simulation) drained(marker simSample) bool {
	for _, st := range s.agent.shipper.Status() {
		if st.Pending > 0 {
			return false
		}
	}
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	for _, name := range []string{"a", "b"} {
		if s.receiver.stores[name][marker.series] == nil {
			return false
		}
	}
	return true
}

// check compares what was committed to what a store has. The caller holds
// receiver.mu.
func (s *simulation) check(name string) {
	of, refused := s.receiver.stores[name], s.receiver.refused[name]
	missing, refusedOld, there := 0, 0, 0
	var some []string
	for i, c := range s.committed {
		switch {
		case of.has(c):
			there++
			delete(refused, c)
		case s.excused[i]:
			delete(refused, c)
		case s.old[i] && refused[c]:
			refusedOld++
			delete(refused, c)
		default:
			missing++
			if len(some) < 5 {
				some = append(some, fmt.Sprintf("%s@%d (%d of %d)", c.series, c.t, i, len(s.committed)))
			}
		}
	}
	for c := range refused {
		s.t.Errorf("%s: %s@%d came out of order, and %d more", name, c.series, c.t, len(refused)-1)
		break
	}
	if lost := int(s.lost[name]); !s.right(missing, lost) {
		s.t.Errorf("%s: %d of %d samples are missing and %d were counted as lost: %v", name, missing, len(s.committed), lost, some)
	}
	if counted := int(s.refused[name]); s.clean && !s.renamed && counted < refusedOld {
		s.t.Errorf("%s: %d samples were too old and %d were counted as refused", name, refusedOld, counted)
	}
	if sent := s.sent[name]; s.clean && !s.flaky && !s.renamed && sent != int64(there) {
		s.t.Errorf("%s: %d samples came, and the ledgers say that %d were sent", name, there, sent)
	}
	if stored := of.count(); stored != there {
		s.t.Errorf("%s: %d samples came that were not committed", name, stored-there)
	}
}

// right says whether as many samples are missing as were counted as lost.
func (s *simulation) right(missing, lost int) bool {
	switch {
	case s.budget == 0 && !s.powerless:
		return missing == 0 && lost == 0
	case s.budget == 0:
		// The power cut takes of a journal what it had a second ago, though it was
		// brought to the disk since: then what was sent may be counted.
		return missing == 0
	case !s.clean:
		return true // Nobody can count what a killed process had read of what the budget took.
	}
	slack := 0
	if s.flaky {
		// A process does not know what was stored of a request without an answer.
		slack = simPerRequest * simShards * (s.lives - 1)
	}
	return missing <= lost && lost <= missing+slack
}
