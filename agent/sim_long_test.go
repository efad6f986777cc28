// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"fmt"
	"testing"
	"time"
)

// TestOutageOfADay has receivers away for as long as outages last, at the pace
// of a cluster: a scrape a minute, the log truncated every two hours. In the
// middle the agent is killed, or stopped where what the budget takes is counted.
func TestOutageOfADay(t *testing.T) {
	for _, tc := range []struct {
		name   string
		length time.Duration
		budget int64
	}{
		{"ten minutes", 10 * time.Minute, 0},
		{"five hours", 5 * time.Hour, 0},
		{"a day", 24 * time.Hour, 0},
		{"a day, four times the budget", 24 * time.Hour, 512 << 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var played *simulation
			simulate(t, 1, func(s *simulation) {
				played = s
				s.pace = simPace{
					truncate: 2 * time.Hour, minTime: 5 * time.Minute, maxTime: 4 * time.Hour,
					retention: 48 * time.Hour, backoff: 30 * time.Second,
				}
				s.config.two, s.budget = true, tc.budget
				s.boot()
				s.scrapesOf(100, 10, time.Minute)
				s.mood(moodDown)
				half := int(tc.length / time.Minute / 2)
				s.scrapesOf(100, half, time.Minute)
				if s.budget == 0 {
					s.kill(nil)
				} else {
					s.stop()
					s.boot()
				}
				s.scrapesOf(100, half, time.Minute)
			})
			if lost := played.lost["a"]; (lost > 0) != (tc.budget > 0) {
				t.Errorf("%v of %d samples were counted as lost", lost, len(played.committed))
			}
		})
	}
}

// TestTwoHundredPowerCuts: after each the agent starts, and what was committed a
// second before is not lost.
func TestTwoHundredPowerCuts(t *testing.T) {
	simulate(t, 1, func(s *simulation) {
		s.boot()
		for i := 0; s.lives <= 200 && i < 1000; i++ { // There is no cut while files come and go.
			s.mood(simMood(i % 3))
			s.scrapesOf(20, 1+s.rnd.IntN(10), 100*time.Millisecond)
			s.powerCut()
		}
		if s.lives != 201 {
			s.t.Errorf("%d starts", s.lives)
		}
	})
}

// TestClockSteps: whatever the clock does, during a run or between two, nothing is
// lost of what the receiver did not have yet.
func TestClockSteps(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 24 * time.Hour, -24 * time.Hour, 48 * time.Hour} {
		for _, between := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, between runs: %v", by, between), func(t *testing.T) {
				t.Parallel()
				simulate(t, 1, func(s *simulation) {
					s.boot()
					s.scrapesOf(20, 20, 100*time.Millisecond)
					s.mood(moodDown)
					s.scrapesOf(20, 20, 100*time.Millisecond)
					if between {
						s.stop()
					}
					s.step.Add(int64(by))
					if between {
						s.boot()
					}
					s.scrapesOf(20, 100, 100*time.Millisecond)
				})
			})
		}
	}
}
