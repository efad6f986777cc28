// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(lenient{m}) }

// lenient gives goroutines that are ending more time than goleak does.
type lenient struct{ *testing.M }

func (l lenient) Run() int {
	code := l.M.Run()
	for deadline := time.Now().Add(20 * time.Second); code == 0 && time.Now().Before(deadline) && goleak.Find() != nil; {
		time.Sleep(100 * time.Millisecond)
	}
	return code
}

// central is a remote_write section that sends soon and in small requests.
func central(address, more string) string {
	return fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 5ms, max_samples_per_send: 10, min_backoff: 5ms, max_backoff: 20ms}\n%s", address, more)
}

// sequence is 1..n.
func sequence(n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i + 1)
	}
	return all
}

// holds checks that a receiver has each of 1..n of every series once, in order.
func (in *inbox) holds(series, n int) string {
	want := map[string][]int64{}
	for i := range series {
		want[serial(i)] = sequence(n)
	}
	return cmp.Diff(want, in.stored())
}

func (in *inbox) wait(series, n int) {
	in.t.Helper()
	until(in.t, "everything arrives", func() bool {
		total := 0
		for _, at := range in.stored() {
			total += len(at)
		}
		return total >= series*n
	})
	if diff := in.holds(series, n); diff != "" {
		in.t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEverythingArrivesOnceAndInOrder(t *testing.T) {
	in := newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.apply(central(in.URL, ""))
	for i := range 200 {
		r.commit(7, int64(i+1))
	}
	in.wait(7, 200)
	until(t, "nothing is pending", func() bool { return value(t, r.reg, "prometheus_remote_storage_samples_pending") == 0 })
	until(t, "the log is let go", func() bool { return r.log.lowest() == r.log.End() })
}

// At the batch deadline all goes that the log has, the records that did not wake
// anybody among it.
func TestDeadlineTakesWhatIsThere(t *testing.T) {
	const deadline = 700 * time.Millisecond
	for inTime := false; !inTime; { // A slow machine may commit the last too late.
		in := newInbox(t, always(http.StatusNoContent))
		r := newRig(t)
		begun := time.Now()
		r.apply(fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: %s}\n", in.URL, deadline))
		for i := range 5 {
			time.Sleep(20 * time.Millisecond) // The first wakes, the others come while the window waits.
			r.commit(7, int64(i+1))
		}
		inTime = time.Since(begun) < deadline
		in.wait(7, 5)
		if n := in.letter(0).count; inTime && n != 35 {
			t.Errorf("the first request has %d samples, want 35", n)
		}
	}
}

// The receiver is down while the process is killed, again and again; what is
// sent again is exactly a request that had no answer.
func TestRestarts(t *testing.T) {
	var up atomic.Bool
	var in *inbox
	// As Prometheus without an out-of-order window does it by 1.0.
	in = newInbox(t, func(n int, got *letter) reply {
		if !up.Load() || n%5 == 4 {
			return reply{status: http.StatusServiceUnavailable}
		}
		old, held := 0, in.stored()
		for s, at := range got.samples {
			if had := held[s]; len(had) > 0 && at[0] <= had[len(had)-1] {
				old++
			}
		}
		switch {
		case old == 0:
			return reply{status: http.StatusNoContent}
		case old < len(got.samples):
			t.Errorf("request %d has samples that were sent before and others: %v", n, got.samples)
		}
		return reply{status: http.StatusBadRequest, body: "out of order sample"}
	})
	r := newRig(t)
	r.apply(central(in.URL, ""))
	t0 := int64(0)
	for life := range 8 {
		for range 25 {
			t0++
			r.commit(7, t0)
		}
		if life%2 == 1 {
			up.Store(true)
			before := in.requests()
			until(t, "some is sent", func() bool { return in.requests() > before+3 })
			up.Store(false)
		}
		r.restart()
		r.apply(central(in.URL, ""))
	}
	up.Store(true)
	in.wait(7, int(t0))
}

func TestCloseSendsAllOrEndsInTime(t *testing.T) {
	var up atomic.Bool
	up.Store(true)
	in := newInbox(t, func(int, *letter) reply {
		if !up.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply(fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 1h}\n", in.URL))
	r.commit(7, 1)
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := in.holds(7, 1); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	up.Store(false)
	r.restart()
	r.apply(central(in.URL, ""))
	r.commit(7, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); err == nil {
		t.Error("everything was sent to a receiver that is down?")
	}
	in.quiet()
	up.Store(true)
	r.restart()
	r.apply(central(in.URL, ""))
	in.wait(7, 2)
}

func TestReloads(t *testing.T) {
	for name, tc := range map[string]struct{ before, after string }{
		"unchanged":                 {"", ""},
		"given a name":              {"", "  name: central\n"},
		"another name":              {"  name: a\n", "  name: b\n"},
		"by 1.0, by 2.0":            {"", "  protobuf_message: io.prometheus.write.v2.Request\n"},
		"by 2.0, by 1.0":            {"  protobuf_message: io.prometheus.write.v2.Request\n", ""},
		"credentials":               {"  basic_auth: {username: a, password: b}\n", "  basic_auth: {username: a, password: c}\n"},
		"rules that change nothing": {"", "  write_relabel_configs: [{action: labeldrop, regex: none}]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var up atomic.Bool
			in := newInbox(t, func(int, *letter) reply {
				if !up.Load() {
					return reply{status: http.StatusServiceUnavailable}
				}
				return reply{status: http.StatusNoContent}
			})
			r := newRig(t)
			r.apply(central(in.URL, tc.before))
			for i := range 30 {
				r.commit(7, int64(i+1))
			}
			until(t, "something is on its way", func() bool { return in.requests() > 0 })
			r.apply(central(in.URL, tc.after))
			r.commit(7, 31)
			up.Store(true)
			in.wait(7, 31)
		})
	}
}

// A destination that leaves the config and comes back goes on where it was; one
// that is new begins with what is logged from then on.
func TestRemovedAndBack(t *testing.T) {
	a, b := newInbox(t, always(http.StatusNoContent)), newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.apply("- {name: a, url: " + a.URL + ", queue_config: {batch_send_deadline: 5ms}}\n")
	r.commit(3, 1)
	a.wait(3, 1)
	until(t, "it is answered", func() bool { return r.log.lowest() == r.log.End() })
	both := fmt.Sprintf("- {name: b, url: %q, queue_config: {batch_send_deadline: 5ms}}\n", b.URL)
	r.apply(both)
	r.commit(3, 2)
	until(t, "the new one has what is new", func() bool { return len(b.stored()) == 3 })
	for s, at := range b.stored() {
		if diff := cmp.Diff([]int64{2}, at); diff != "" {
			t.Errorf("%s: -want +got:\n%s", s, diff)
		}
	}
	r.restart()
	r.apply(both)
	r.commit(3, 3)
	r.apply(both + fmt.Sprintf("- {name: a, url: %q, queue_config: {batch_send_deadline: 5ms}}\n", a.URL))
	a.wait(3, 3)
}

// The only destination gets another URL: what the old one was not sent goes to
// the new one.
func TestAnotherURL(t *testing.T) {
	dead, in := newInbox(t, always(http.StatusServiceUnavailable)), newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.apply(central(dead.URL, ""))
	for i := range 30 {
		r.commit(7, int64(i+1))
	}
	until(t, "something was tried", func() bool { return dead.requests() > 0 })
	r.apply(central(in.URL, ""))
	in.wait(7, 30)
}

// What the budget takes is counted to the sample, and nothing else is lost.
func TestBudget(t *testing.T) {
	var up atomic.Bool
	in := newInbox(t, func(int, *letter) reply {
		if !up.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply(central(in.URL, ""))
	const scrapes, each = 200, 7
	for i := range scrapes {
		r.commit(each, int64(i+1))
		if i%40 == 39 {
			until(t, "something is on its way", func() bool { return in.requests() > 0 })
			to := r.log.End()
			to.Segment, to.Offset = to.Segment-2, 0
			r.log.drop(to, lostBudget)
		}
	}
	up.Store(true)
	want := func() float64 {
		return float64(scrapes*each) - value(t, r.reg, "torchbearer_remote_samples_lost_total", "reason", lostBudget)
	}
	got := func() float64 {
		n := 0
		for _, at := range in.stored() {
			n += len(at)
		}
		return float64(n)
	}
	until(t, "the rest arrives", func() bool { return got() >= want() })
	if lost := scrapes*each - want(); lost == 0 || got() != want() {
		t.Errorf("%v arrived, %v are counted as lost, of %d", got(), lost, scrapes*each)
	}
	until(t, "nothing is pending", func() bool { return value(t, r.reg, "prometheus_remote_storage_samples_pending") == 0 })
}

func TestOneDeadOfTwo(t *testing.T) {
	dead, in := newInbox(t, always(http.StatusServiceUnavailable)), newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.apply(central(dead.URL, "") + central(in.URL, ""))
	for i := range 100 {
		r.commit(7, int64(i+1))
	}
	in.wait(7, 100)
	if len(dead.stored()) != 0 {
		t.Error("the dead one stored something")
	}
}

func TestNothingIsLetGoWhenTheJournalsCannotBeOpened(t *testing.T) {
	r := newRig(t)
	r.commit(3, 1)
	if err := os.WriteFile(r.Shipper.dir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(parse(t, central("http://127.0.0.1:1/", ""))); err == nil {
		t.Fatal("a file is no folder of journals")
	}
	if at := r.log.lowest(); at != r.log.Begin() {
		t.Errorf("the log is claimed from %s on, want %s", at, r.log.Begin())
	}
	if err := os.Remove(r.Shipper.dir()); err != nil {
		t.Fatal(err)
	}
}
