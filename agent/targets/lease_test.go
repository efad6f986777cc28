// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"fmt"
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

	mu    sync.Mutex
	log   []string // "5s a gained"
	extra chan struct{}
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
		fence: barrier, logger: log.NewNopLogger(),
		gained: func() { f.note(name, "gained") }, lost: func() { f.note(name, "lost") },
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.kill = cancel
	go func() {
		defer close(m.done)
		m.run(ctx)
	}()
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
		"garbage for ever": func(l *coordination.Lease) *coordination.Lease {
			l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = text("x"), number(1e9)
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newField(t, "a", "b", "c")
				f.another("", 3*time.Second)
				time.Sleep(time.Minute)
				f.api.set(edit)
				time.Sleep(leaseDuration + 3*time.Second)
				holds := f.another("", 0)
				if f.api.holder() != holds.lock.identity {
					t.Errorf("%s works as the holder, the lease says %q", holds.lock.identity, f.api.holder())
				}
			})
		})
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
		if f.api.writes > 6 {
			t.Errorf("%d writes until one of 59 had taken over", f.api.writes)
		}
	})
}
