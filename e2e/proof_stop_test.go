// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

// TestProofStop: a stop beside a healthy receiver leaves nothing behind, one beside a dead receiver ends in time and loses
// nothing.
func TestProofStop(t *testing.T) {
	t.Parallel()
	f := func(name string, sig os.Signal) {
		t.Run(name+", receiver is healthy", func(t *testing.T) {
			t.Parallel()
			r := calm(t, load.Options{Targets: 20, Series: 100})
			late := 0
			for range 3 {
				r.start()
				r.live(2*time.Second, 4*time.Second)
				code, took := r.end(sig)
				if code != 0 {
					t.Errorf("it ended with %d", code)
				}
				if took > 3*time.Second { // A busy machine may be late.
					late++
					t.Logf("it ended after %s", took)
				}
				if late == 3 {
					t.Errorf("it ended after more than 3s each time")
				}
				// No start comes between the stop and the check.
				if p := r.check(r.ledger); p.Repeats != 0 {
					t.Errorf("%d points were repeated", p.Repeats)
				}
			}
		})
		t.Run(name+", receiver is dead", func(t *testing.T) {
			t.Parallel()
			r := calm(t, load.Options{Targets: 20, Series: 100})
			limit := 6 * time.Second // The flush deadline is five.
			if raced(t) {
				limit += 2 * time.Second // The race detector sleeps before it lets a program end.
			}
			for _, hang := range []bool{true, false} {
				if hang {
					r.dest.Hang()
				} else {
					r.dest.Status(503)
				}
				inThree(t, func() error {
					r.start()
					r.live(2*time.Second, 4*time.Second)
					code, took := r.end(sig)
					if code != 0 {
						t.Errorf("it ended with %d", code)
					}
					if took > limit {
						return fmt.Errorf("it ended after %s, want %s at most", took, limit)
					}
					return nil
				})
			}
			r.dest.SetBehaviour(nil)
			r.start()
			r.drain(r.ledger, 60*time.Second)
			r.term()
			r.check(r.ledger)
		})
	}
	f("SIGTERM", syscall.SIGTERM)
	f("SIGINT", os.Interrupt)
}

// TestProofPhase: an agent that comes back within the interval scrapes when the one before it would have.
func TestProofPhase(t *testing.T) {
	t.Parallel()
	r := calm(t, load.Options{Targets: 1, Series: 1})
	r.interval = 5 * time.Second
	key := receiver.Key(load.Metric, r.fleet.Addresses()[0], "0", "")
	r.start()
	for _, end := range []func(){r.kill, r.term, r.kill} {
		// A busy machine may be late, or so slow to start it that the time has passed.
		inThree(t, func() error {
			r.scraped(1)
			from := r.fleet.Answered(0)
			time.Sleep(300 * time.Millisecond)
			end()
			r.start()
			r.scraped(1)
			r.drain(r.ledger, 60*time.Second)
			times := r.ledger.Times(key)
			for i := max(from, 1); i < len(times); i++ {
				gap := time.Duration(times[i]-times[i-1]) * time.Millisecond
				if gap < r.interval-100*time.Millisecond || gap > r.interval+100*time.Millisecond {
					return fmt.Errorf("%s between scrapes %d and %d, want %s", gap, i, i+1, r.interval)
				}
			}
			return nil
		})
	}
	r.term()
	r.check(r.ledger)
	if n := len(r.ledger.Times(key)); n < 4 {
		t.Errorf("%d scrapes came", n)
	}
}
