// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"iter"
	"testing"
	"time"

	"torchbearer/e2e/load"
)

// rounds names the rounds of a proof: one, or as many as TORCHBEARER_SOAK has time for, or until one fails.
func rounds(t *testing.T) iter.Seq[string] {
	t.Helper()
	end := time.Now().Add(duration(t, "TORCHBEARER_SOAK", 0))
	return func(yield func(string) bool) {
		for first := true; first || time.Now().Before(end) && !t.Failed(); first = false {
			if !yield("round") {
				return
			}
		}
	}
}

// killLoad is small enough for two agents at once on two processors.
func killLoad() load.Options { return load.Options{Targets: 20, Series: 60, Churn: 20, Life: 4} }

// TestProofKill kills the agent at random moments, under load with churn, while the receiver fails in all ways.
func TestProofKill(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name := range rounds(t) {
				t.Run(name, func(t *testing.T) {
					r := newRig(t, killLoad())
					for range 12 {
						r.start()
						r.live(500*time.Millisecond, 4*time.Second)
						r.kill()
					}
					r.finish()
				})
			}
		})
	}
}

// TestProofTerm does the same with SIGTERM.
func TestProofTerm(t *testing.T) {
	t.Parallel()
	for name := range rounds(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, killLoad())
			r.flags = append(r.flags, "--storage.remote.flush-deadline=1s")
			for range 8 {
				r.start()
				r.live(500*time.Millisecond, 4*time.Second)
				r.term()
			}
			r.finish()
		})
	}
}
