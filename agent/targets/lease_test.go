// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const leaseDuration = 12 * time.Second

// member is one of the agents that share a lease.
type member struct {
	*lease

	view *view
	kill context.CancelFunc // ends it as SIGTERM does
	done chan struct{}
}

// field is the agents of one cluster, in a synctest bubble. It watches that never
// two may write at once.
type field struct {
	t       *testing.T
	api     *api
	members []*member
	began   time.Time

	mu    sync.Mutex // guards log, and members against the one who watches
	log   []string   // "5s a gained"
	extra chan struct{}

	losing time.Duration // how long it takes an agent to stop its work
}

func newField(t *testing.T, names ...string) *field {
	t.Helper()
	f := &field{t: t, api: &api{}, began: time.Now(), extra: make(chan struct{})}
	for _, name := range names {
		f.join(name)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(7 * time.Millisecond); ; {
			select {
			case <-f.extra:
				tick.Stop()
				return
			case <-tick.C:
				if open := f.open(); len(open) > 1 {
					t.Errorf("%s: at once %v may write", time.Since(f.began), open)
				}
			}
		}
	}()
	t.Cleanup(func() {
		for _, m := range f.members {
			m.kill()
			<-m.done
		}
		close(f.extra)
		<-watched
		time.Sleep(time.Minute) // Requests under way end.
	})
	return f
}

func (f *field) join(name string) *member {
	m := &member{view: f.api.view(), done: make(chan struct{})}
	barrier := &fence{}
	m.lease = &lease{
		lock: &lock{
			client: m.view, meta: metav1.ObjectMeta{Name: "lease", Namespace: "ns"}, identity: name,
			duration: leaseDuration, fence: barrier, usurped: make(chan struct{}, 1),
		},
		fence: barrier, logger: log.LoggerFunc(func(keyvals ...any) error { f.note(name, fmt.Sprint(keyvals...)); return nil }),
		gained: func() { f.note(name, "gained") }, lost: func(bool) { f.note(name, "lost"); time.Sleep(f.losing) },
	}
	m.lock.report = m.report
	ctx, cancel := context.WithCancel(context.Background())
	m.kill = cancel
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members = append(f.members, m)
	return m
}

func (f *field) note(name, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf("%s %s %s", time.Since(f.began).Round(time.Millisecond), name, what))
}

// open are those whose fence is open.
func (f *field) open() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m.fence.left() > 0 {
			names = append(names, m.lock.identity)
		}
	}
	return names
}

// waits until one but none of the given holds, for at most the time.
func (f *field) another(than string, within time.Duration) *member {
	f.t.Helper()
	begun := time.Now()
	for time.Since(begun) <= within {
		for _, m := range f.members {
			if m.fence.left() > 0 && m.lock.identity != than {
				return m
			}
		}
		time.Sleep(10 * time.Millisecond) // Of the bubble.
	}
	f.t.Fatalf("within %s nobody else than %q held the lease, which says %q; %v", within, than, f.api.holder(), f.log)
	return nil
}

func TestOneHoldsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b", "c")
		first := f.another("", 3*time.Second)
		f.api.mu.Lock()
		f.api.writes = 0
		f.api.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if now := f.another("", 0); now != first {
			t.Errorf("the lease went from %s to %s without need", first.lock.identity, now.lock.identity)
		}
		f.api.mu.Lock()
		defer f.api.mu.Unlock()
		if n, most := f.api.writes, 10*60/3+2; n > most {
			t.Errorf("%d writes in 10 minutes, want at most %d: those of the holder, one in %s", n, most, leaseDuration/4)
		}
	})
}

func TestTheLeaseIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		first.kill()
		f.another(first.lock.identity, 2*time.Second)
		<-first.done
	})
}

func TestAScrapeBeingWrittenIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		done, ok := first.fence.pass()
		if !ok {
			t.Fatal("the holder may not write")
		}
		first.kill()
		time.Sleep(500 * time.Millisecond)
		if f.api.holder() != first.lock.identity {
			t.Error("the lease was given away while a scrape was written")
		}
		if _, ok := first.fence.pass(); ok {
			t.Error("a scrape may still begin to be written")
		}
		done()
		f.another(first.lock.identity, 2*time.Second)
	})
}

func TestAScrapeThatHangsKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		done, _ := first.fence.pass()
		first.kill()
		<-first.done
		if f.api.holder() != first.lock.identity {
			t.Error("the lease was given away while a scrape was written")
		}
		f.another(first.lock.identity, leaseDuration+3*time.Second)
		done()
	})
}

func TestAHolderThatIsCutOffStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		first.view.reachable(false)
		begun := time.Now()
		time.Sleep(leaseDuration/2 - time.Second)
		if first.fence.left() == 0 {
			t.Error("the holder gave up while it could still be sure")
		}
		f.another(first.lock.identity, leaseDuration+3*time.Second)
		if gap := time.Since(begun); gap > 15*time.Second {
			t.Errorf("another took over after %s", gap)
		}
		first.view.reachable(true)
		time.Sleep(time.Minute)
		if f.api.holder() == first.lock.identity {
			t.Error("the former holder took the lease back")
		}
	})
}

func TestNoAPIServerNobodyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		f.another("", 3*time.Second)
		for _, m := range f.members {
			m.view.reachable(false)
		}
		time.Sleep(leaseDuration)
		if open := f.open(); len(open) > 0 {
			t.Errorf("%v may write, and cannot be sure", open)
		}
		for _, m := range f.members {
			m.view.reachable(true)
		}
		// The watch comes back when its backoff ends; a write tells before.
		f.another("", leaseDuration+3*time.Second)
	})
}

func TestALeaseThatIsEdited(t *testing.T) {
	text := func(s string) *string { return &s }
	number := func(n int32) *int32 { return &n }
	for name, edit := range map[string]func(*coordination.Lease) *coordination.Lease{
		"holder garbage": func(l *coordination.Lease) *coordination.Lease {
			l.Spec.HolderIdentity = text("nobody at all")
			return l
		},
		"holder empty":  func(l *coordination.Lease) *coordination.Lease { l.Spec.HolderIdentity = text(""); return l },
		"duration 0":    func(l *coordination.Lease) *coordination.Lease { l.Spec.LeaseDurationSeconds = number(0); return l },
		"duration -5":   func(l *coordination.Lease) *coordination.Lease { l.Spec.LeaseDurationSeconds = number(-5); return l },
		"duration 1e9":  func(l *coordination.Lease) *coordination.Lease { l.Spec.LeaseDurationSeconds = number(1e9); return l },
		"nothing in it": func(l *coordination.Lease) *coordination.Lease { l.Spec = coordination.LeaseSpec{}; return l },
		"deleted":       func(*coordination.Lease) *coordination.Lease { return nil },
		"renewed tomorrow": func(l *coordination.Lease) *coordination.Lease {
			l.Spec.RenewTime.Time = time.Now().Add(24 * time.Hour)
			return l
		},
		"no more transitions": func(l *coordination.Lease) *coordination.Lease {
			l.Spec.LeaseTransitions, l.Spec.HolderIdentity = number(math.MaxInt32), text("x")
			return l
		},
		"duration 1": func(l *coordination.Lease) *coordination.Lease { l.Spec.LeaseDurationSeconds = number(1); return l },
		"given to c": func(l *coordination.Lease) *coordination.Lease { l.Spec.HolderIdentity = text("c"); return l },
		"given to b": func(l *coordination.Lease) *coordination.Lease { l.Spec.HolderIdentity = text("b"); return l },
		"garbage for ever": func(l *coordination.Lease) *coordination.Lease {
			l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = text("x"), number(1e9)
			return l
		},
	} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, holder cut off: %v", name, cut), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newField(t, "a", "b", "c")
					first := f.another("", 3*time.Second)
					time.Sleep(time.Minute)
					for cut && first.fence.left() < 10900*time.Millisecond {
						time.Sleep(5 * time.Millisecond) // It has just been renewed.
					}
					first.view.reachable(!cut)
					f.api.set(edit)
					time.Sleep(2*leaseDuration + 3*time.Second)
					holds := f.another("", 0)
					if f.api.holder() != holds.lock.identity {
						t.Errorf("%s works as the holder, the lease says %q", holds.lock.identity, f.api.holder())
					}
				})
			})
		}
	}
}

func TestALeaseDeletedWhileItsHolderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		time.Sleep(time.Minute) // All know the lease.
		first.view.reachable(false)
		f.api.set(func(*coordination.Lease) *coordination.Lease { return nil })
		f.another(first.lock.identity, 2*leaseDuration+3*time.Second) // And the field sees that never two do.
	})
}

func TestADeletedLeaseIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b")
		first := f.another("", 3*time.Second)
		for range 20 { // At different times since it was renewed.
			time.Sleep(10*time.Second + 170*time.Millisecond)
			f.api.set(func(*coordination.Lease) *coordination.Lease { return nil })
			time.Sleep(1500 * time.Millisecond)
			if now := f.api.holder(); now != first.lock.identity {
				t.Fatalf("the lease that was deleted is now of %q, want it of %q as before; %v", now, first.lock.identity, f.log)
			}
		}
	})
}

func TestFollowersKnowTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t, "a", "b", "c", "d", "e", "f")
		first := f.another("", 3*time.Second)
		time.Sleep(time.Minute)
		for _, m := range f.members {
			holding, _ := m.lock.state()
			if err := m.trouble(); err != nil || holding != first.lock.identity {
				t.Errorf("%s takes %q for the holder, which is %s; trouble: %v", m.lock.identity, holding, first.lock.identity, err)
			}
		}
	})
}

func TestALeaseThatMayNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t)
		f.api.forbidden = true
		m := f.join("a")
		time.Sleep(10 * time.Minute)
		f.api.mu.Lock()
		writes := f.api.writes
		f.api.forbidden = false
		f.api.mu.Unlock()
		if writes > 10*60/15 {
			t.Errorf("%d writes in 10 minutes, though none can succeed", writes)
		}
		f.mu.Lock()
		told := slices.DeleteFunc(slices.Clone(f.log), func(line string) bool { return !strings.Contains(line, "needs a Role in namespace ns") })
		f.mu.Unlock()
		if len(told) < 1 || len(told) > 3 {
			t.Errorf("the log has %d lines that say what is missing, want one in %s; %q", len(told), reportPause, f.log)
		}
		if err := m.trouble(); err == nil || !strings.Contains(err.Error(), "needs a Role") {
			t.Errorf("the trouble is told as %v", err)
		}
		f.another("", 2*longestPause)
	})
}

func TestNoAPIServerAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newField(t)
		m := f.join("a")
		m.view.reachable(false)
		time.Sleep(time.Hour)
		f.mu.Lock()
		if len(f.log) < 1 || len(f.log) > 14 {
			t.Errorf("%d lines in an hour: %q", len(f.log), f.log)
		}
		f.mu.Unlock()
		if err := m.trouble(); err == nil {
			t.Error("nothing is told of the trouble")
		}
		m.view.reachable(true)
		f.another("", 2*time.Minute)
	})
}

func TestNobodyWaitsForOneThatStopsItsWork(t *testing.T) {
	for _, away := range []time.Duration{11100, 11300, 11500, 11700} {
		synctest.Test(t, func(t *testing.T) {
			f := newField(t, "a", "b")
			f.losing = time.Minute
			first := f.another("", 3*time.Second)
			time.Sleep(time.Minute)
			for first.fence.left() < 10980*time.Millisecond {
				time.Sleep(time.Millisecond)
			}
			for _, m := range f.members {
				m.view.reachable(false)
			}
			time.Sleep(away * time.Millisecond)
			for _, m := range f.members {
				m.view.reachable(true)
			}
			f.another("", 2*leaseDuration)
		})
	}
}

func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprint("agent-", i))
		}
		f := newField(t, names...)
		first := f.another("", 3*time.Second)
		time.Sleep(time.Minute) // They began all at once.
		f.api.mu.Lock()
		f.api.writes = 0
		f.api.mu.Unlock()
		first.kill()
		<-first.done
		f.another(first.lock.identity, 2*time.Second)
		time.Sleep(time.Second)
		f.api.mu.Lock()
		defer f.api.mu.Unlock()
		if f.api.writes > 15 {
			t.Errorf("%d writes until one of 59 had taken over", f.api.writes)
		}
	})
}
