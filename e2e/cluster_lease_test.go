// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/receiver"
)

// TestLease runs ten agents on ten nodes of a real control plane, and takes the lease from its holder in every way.
func TestLease(t *testing.T) {
	r := startCrew(t, 10)
	for _, a := range r.agents {
		a.ready(t)
		until(t, 60*time.Second, "the node's own pods arrive", func(context.Context) error {
			return atLeast("series of pods of node "+a.node, len(a.dest.Match("__name__", "pod_value")), podsPerNode)
		})
	}
	first := r.next(t, -1, 60*time.Second)
	t.Run("status", func(t *testing.T) { r.wantScopes(t, first) })

	t.Run("SIGTERM", func(t *testing.T) {
		r.wantGap(t, 3*time.Second, func(old int) { // 2 s for the hand-over and one interval
			stop(t, r.agents[old].agent)
			r.next(t, old, 60*time.Second)
			r.wantNoMarkers(t, old)
			r.agents[old].start(t)
			r.agents[old].ready(t)
		})
	})
	t.Run("SIGKILL", func(t *testing.T) {
		r.wantGap(t, 20*time.Second, func(old int) {
			r.agents[old].Close()
			r.next(t, old, 60*time.Second)
			r.agents[old].start(t)
			r.agents[old].ready(t)
		})
	})
	t.Run("SIGSTOP", func(t *testing.T) {
		r.wantGap(t, 20*time.Second, func(old int) {
			r.agents[old].signal(t, syscall.SIGSTOP)
			r.next(t, old, 60*time.Second)
			r.agents[old].signal(t, syscall.SIGCONT)
			r.wantFollower(t, old)
		})
	})
	t.Run("cut off", func(t *testing.T) {
		r.wantGap(t, 20*time.Second, func(old int) {
			cutAt := time.Now()
			r.agents[old].wire.Cut()
			r.next(t, old, 60*time.Second)
			r.wantSteady(t, old, cutAt)
			r.agents[old].wire.Mend()
			r.wantFollower(t, old)
			// Some more scrapes, so that a former holder that goes on would be seen.
			r.wantGrowth(t, r.current(), 5)
		})
	})
	r.wantOneAtATime(t)
	r.wantOwnPods(t)
}

// wantGap takes the lease from its holder and checks the time between the last sample of that one and the first of the
// next.
func (r *crew) wantGap(t *testing.T, most time.Duration, take func(old int)) {
	t.Helper()
	inThree(t, func() error {
		old := r.current()
		take(old)
		return r.gap(t, old, most)
	})
}

func (r *crew) gap(t *testing.T, old int, most time.Duration) error {
	t.Helper()
	now := r.current()
	for _, name := range clusterSeries {
		all := r.history(name)
		// From the end, as an agent may hold the lease twice in a test.
		begin := len(all) - 1
		for begin > 0 && (all[begin].agent != now || all[begin-1].agent != old) {
			begin--
		}
		if begin < 1 {
			t.Errorf("%s: no sample of %s follows one of %s", name, r.agents[now].node, r.agents[old].node)
			continue
		}
		gap := time.Duration(all[begin].Time-all[begin-1].Time) * time.Millisecond
		t.Logf("%s: handed over from %s to %s with a gap of %s", name, r.agents[old].node, r.agents[now].node, gap)
		if gap > most {
			return fmt.Errorf("%s: the gap is %s, want %s at most", name, gap, most)
		}
	}
	return nil
}

// wantNoMarkers checks that an agent has sent no staleness markers for what the next holder goes on with.
func (r *crew) wantNoMarkers(t *testing.T, i int) {
	t.Helper()
	for _, name := range append([]string{"up"}, clusterSeries...) {
		for _, s := range r.agents[i].dest.Match("__name__", name) {
			if job := s.Labels.Get("job"); job != "static" && job != "endpoints" {
				continue
			}
			failed := failures(r.agents[i].dest, s.Labels.Get("instance"))
			for _, p := range s.Points {
				if p.Stale() && !slices.Contains(failed, p.Time) {
					t.Errorf("%s: a staleness marker at %d", s.Labels, p.Time)
				}
			}
		}
	}
}

// wantSteady checks that the agent's own pods were scraped all the time.
func (r *crew) wantSteady(t *testing.T, i int, since time.Time) {
	t.Helper()
	wantSteady(t, r.agents[i].dest, since, "__name__", "pod_value")
}

func wantSteady(t *testing.T, dest *receiver.Receiver, since time.Time, pairs ...string) {
	t.Helper()
	const most = 5 * time.Second // The interval is a second, and the machine may be busy.
	found := dest.Match(pairs...)
	if len(found) == 0 {
		t.Errorf("nothing has come of %v", pairs)
	}
	for _, s := range found {
		last := since.UnixMilli()
		failed := failures(dest, s.Labels.Get("instance"))
		for _, p := range append(s.Points, receiver.Point{Time: time.Now().Add(-time.Second).UnixMilli()}) {
			// A scrape that takes a busy agent too long has a marker, too, and up is 0.
			if p.Time < last || p.Stale() && slices.Contains(failed, p.Time) {
				continue
			}
			if gap := time.Duration(p.Time-last) * time.Millisecond; gap > most || p.Stale() {
				t.Errorf("%s: nothing for %s until %d (stale: %v)", s.Labels, gap, p.Time, p.Stale())
			}
			last = p.Time
		}
	}
}

// wantOneAtATime checks that the samples of each cluster-scoped series come from one holder after the other, and each
// once.
func (r *crew) wantOneAtATime(t *testing.T) {
	t.Helper()
	for _, name := range clusterSeries {
		all := r.history(name)
		var order []int
		for i, s := range all {
			if s.Count > 1 || i > 0 && all[i-1].Time == s.Time {
				t.Errorf("%s: the sample of %d came more than once", name, s.Time)
			}
			if len(order) == 0 || order[len(order)-1] != s.agent {
				order = append(order, s.agent)
			}
		}
		if !slices.Equal(order, r.holders) {
			t.Errorf("%s: in the order of time its samples are from the agents %v, want %v", name, order, r.holders)
		}
	}
}

// wantOwnPods checks that each pod and each node came from the agent of its node, and from no other.
func (r *crew) wantOwnPods(t *testing.T) {
	t.Helper()
	for i, a := range r.agents {
		pods := a.dest.Match("__name__", "pod_value")
		if len(pods) != podsPerNode {
			t.Errorf("agent %d sent %d series of pods, want %d", i, len(pods), podsPerNode)
		}
		for _, s := range pods {
			if !strings.HasPrefix(s.Labels.Get("pod"), fmt.Sprintf("pod-%d-", i)) {
				t.Errorf("agent %d sent %s", i, s.Labels)
			}
		}
		nodes := a.dest.Match("__name__", "node_value")
		if len(nodes) != 1 || nodes[0].Labels.Get("node") != a.node {
			t.Errorf("agent %d sent of nodes %v", i, nodes)
		}
	}
}

// wantScopes checks what the agents say about who scrapes what.
func (r *crew) wantScopes(t *testing.T, holder int) {
	t.Helper()
	want := map[string]string{"pods": "node", "nodes": "node", "endpoints": "cluster", "static": "cluster"}
	for i, a := range r.agents {
		a.until(t, 60*time.Second, "the scopes are told", func(ctx context.Context) error {
			s, err := a.scopes(ctx)
			if err != nil {
				return err
			}
			if s.Node != a.node || s.Lease == nil || s.Lease.Held != (i == holder) || len(s.Jobs) != len(want) {
				return fmt.Errorf("it says %+v, lease %+v", s, s.Lease)
			}
			for _, job := range s.Jobs {
				if job.Scope != want[job.Job] || job.Scraped != (job.Scope == "node" || i == holder) {
					return fmt.Errorf("of job %s it says %+v", job.Job, job)
				}
				if !job.Scraped && (job.By != s.Lease.Holder || job.Reason == "") {
					return fmt.Errorf("of job %s it says %+v; the holder is %q", job.Job, job, s.Lease.Holder)
				}
			}
			return nil
		})
	}
}
