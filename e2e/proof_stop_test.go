// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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
			for range 3 {
				r.start()
				r.live(2*time.Second, 4*time.Second)
				if code, took := r.end(sig); code != 0 || took > 3*time.Second {
					t.Errorf("it ended with %d after %s, want 0 within 3s", code, took)
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
				r.start()
				r.live(2*time.Second, 4*time.Second)
				if code, took := r.end(sig); code != 0 || took > limit {
					t.Errorf("it ended with %d after %s, want 0 within %s", code, took, limit)
				}
			}
			r.dest.SetBehaviour(nil)
			r.start()
			r.drain(r.ledger, 20*time.Second)
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
	r.interval = 3 * time.Second
	r.start()
	for _, end := range []func(){r.kill, r.term, r.kill} {
		r.scraped(1)
		time.Sleep(300 * time.Millisecond)
		end()
		r.start()
	}
	r.scraped(1)
	r.term()
	r.check(r.ledger)
	address := r.fleet.Addresses()[0]
	times := r.ledger.Times(receiver.Key(load.Metric, address, "0", ""))
	for i := 1; i < len(times); i++ {
		gap := time.Duration(times[i]-times[i-1]) * time.Millisecond
		if gap < r.interval-100*time.Millisecond || gap > r.interval+100*time.Millisecond {
			t.Errorf("%s between scrapes %d and %d, want %s", gap, i, i+1, r.interval)
		}
	}
	if len(times) < 4 {
		t.Errorf("%d scrapes came", len(times))
	}
}
