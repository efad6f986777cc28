// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"testing"
	"time"
)

// What the simulation has found, each by itself.

// TestSimSeriesComesBackDuringOutage: tsdb/agent gives a series that it forgot
// another ref when it comes back. Within a window both must leave in order.
func TestSimSeriesComesBackDuringOutage(t *testing.T) {
	for _, two := range []bool{false, true} {
		simulate(t, 1, func(s *simulation) {
			s.config.two = two
			s.mood(moodDown)
			s.boot()
			for range 3 {
				s.scrapesOf(21, 12, 100*time.Millisecond)
				s.wait(15 * time.Second)
			}
			s.scrapesOf(21, 12, 100*time.Millisecond)
		})
	}
}

// TestSimBudgetTakesWhatWasReadAhead: a record that was read, but is not of the
// window that is being sent, is counted when the budget takes it and the process
// stops then.
func TestSimBudgetTakesWhatWasReadAhead(t *testing.T) {
	simulate(t, 1, func(s *simulation) {
		s.budget = 200 << 10
		s.mood(moodDown)
		s.boot()
		s.scrapesOf(100, 120, 10*time.Millisecond)
		s.wait(5 * time.Second)
		s.stop()
		s.boot()
	})
}

// TestSimNothingIsFreedBetweenClaims: at a start nothing of the log goes until
// all destinations have said what they need.
func TestSimNothingIsFreedBetweenClaims(t *testing.T) {
	simulate(t, 1, func(s *simulation) {
		s.slowClaims = true
		s.receiver.down = "b"
		s.boot()
		s.scrapesOf(50, 100, 100*time.Millisecond)
		for range 3 {
			s.stop()
			s.boot()
			s.scrapesOf(50, 20, 100*time.Millisecond)
		}
		s.receiver.mu.Lock()
		s.receiver.down = ""
		s.receiver.mu.Unlock()
	})
}

// TestSimClockBackWhileRefsChange: after the clock was set back tsdb/agent
// forgets every series at each truncation; all that it gives a ref is sent in
// order all the same.
func TestSimClockBackWhileRefsChange(t *testing.T) {
	simulate(t, 1, func(s *simulation) {
		s.boot()
		s.step.Store(-int64(time.Hour))
		for range 4 {
			s.mood(moodDown)
			s.scrapesOf(30, 40, 200*time.Millisecond)
			s.mood(moodWell)
			s.wait(5 * time.Second)
		}
	})
}
