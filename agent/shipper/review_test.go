// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
	"unique"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

func sample(ref int, t int64, v float64) record.RefSample {
	return record.RefSample{Ref: chunks.HeadSeriesRef(ref), T: t, V: v}
}

func named(n string) labels.Labels { return labels.FromStrings("__name__", "m", "n", n) }

// After a failed write the log repeats what was sent before the process ended:
// the next process knows that by what the segment has before the cursor.
func TestRepeatsAfterARestart(t *testing.T) {
	in := newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.apply(central(in.URL, ""))
	r.commit(3, 1)
	r.commit(3, 2)
	in.wait(3, 2)
	until(t, "the log is let go", func() bool { return r.log.lowest() == r.log.End() })
	r.kill()
	r.log.commit(3, 1)
	r.log.commit(3, 2)
	r.log.commit(3, 3)
	r.log.restart()
	r.open()
	r.apply(central(in.URL, ""))
	in.wait(3, 3)
}

// What is cut again after a restart is what was cut before it, though the log
// repeats points that only the former process knew to be repeats: those of a
// segment that is gone.
func TestRepeatsInAWindowThatIsResumed(t *testing.T) {
	var up atomic.Bool
	up.Store(true)
	var first atomic.Pointer[letter]
	in := newInbox(t, func(_ int, got *letter) reply {
		if !up.Load() {
			first.CompareAndSwap(nil, got)
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply(central(in.URL, ""))
	for i := range memSegment {
		r.commit(3, int64(i+1))
	}
	in.wait(3, memSegment)
	until(t, "the log is let go", func() bool { return r.log.lowest() == r.log.End() })
	up.Store(false)
	r.log.drop(r.log.End(), lostBudget)
	var b logged.Batch
	for i := range 3 {
		b.Samples = append(b.Samples, sample(i+1, 10, 10), sample(i+1, 11, 11))
	}
	r.log.know(1, named(serial(0)))
	r.Committing(6)
	r.log.write(b)
	r.Committed(6, 0, 0, 11)
	until(t, "it was tried", func() bool { return first.Load() != nil })
	r.restart()
	before := in.requests()
	r.apply(central(in.URL, ""))
	until(t, "it is tried again", func() bool { return in.requests() > before })
	up.Store(true)
	until(t, "all is sent", func() bool { return len(in.stored()[serial(2)]) >= 11 })
	// The repeats cannot be known any more: what matters is that none is missing.
	for i := range 3 {
		at := in.stored()[serial(i)]
		if at[len(at)-1] != 11 {
			t.Errorf("%s ends with %v", serial(i), at)
		}
	}
}

// The budget takes what was being sent when the process ended, before it is sent
// again: all of it is counted, and nothing of it is sent in other requests.
func TestBudgetTakesTheWindowToBeResumed(t *testing.T) {
	var up atomic.Bool
	in := newInbox(t, func(n int, _ *letter) reply {
		if n == 0 || up.Load() {
			return reply{status: http.StatusNoContent}
		}
		return reply{status: http.StatusServiceUnavailable}
	})
	r := newRig(t)
	for i := range 15 {
		r.log.commit(7, int64(i+1)) // A window of two segments.
	}
	config := fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 5ms, max_samples_per_send: 20, min_shards: 6, max_shards: 6, min_backoff: 5ms, max_backoff: 20ms}\n", in.URL)
	r.apply(config)
	until(t, "something is stored", func() bool { return len(in.stored()) > 0 })
	until(t, "something else is tried", func() bool { return in.requests() > 2 })
	r.kill()
	in.quiet()
	sent, before := 0, in.stored()
	for _, at := range before {
		sent += len(at)
	}
	r.log.restart()
	r.open()
	r.apply(config)
	r.log.drop(logged.Position{Generation: 1, Segment: 1}, lostBudget)
	up.Store(true)
	r.commit(7, 16)
	until(t, "what comes then is sent", func() bool { return len(in.stored()[serial(6)]) > 0 && slicesLast(in.stored()[serial(6)]) == 16 })
	until(t, "all is sent", func() bool { return r.log.lowest() == r.log.End() })
	total, again := 0, 0
	for s, at := range in.stored() {
		total += len(at)
		// The answer may have come just too late to be journalled: then what
		// it was to is sent again, or lost, but not a part of it.
		if n := len(before[s]); n > 0 && len(at) > n && at[n] == before[s][0] {
			again += n
			at = at[n:]
		}
		for i := 1; i < len(at); i++ {
			if at[i] <= at[i-1] {
				t.Errorf("%s came as %v, %v of it before the restart", s, in.stored()[s], before[s])
				break
			}
		}
	}
	if again != 0 && again != sent {
		t.Errorf("%d samples came again of %d that were stored before the restart", again, sent)
	}
	lost := int(value(t, r.reg, "torchbearer_remote_samples_lost_total", "reason", lostBudget))
	if n := total + lost; n != 16*7 && n != 16*7+sent {
		t.Errorf("%d arrived (%d of them before), %d are counted as lost, of %d", total, sent, lost, 16*7)
	}
}

func slicesLast(at []int64) int64 { return at[len(at)-1] }

// A receiver that does not answer metadata does not keep samples waiting, and
// the end not for long.
func TestMetadataDoesNotBlock(t *testing.T) {
	stop := make(chan struct{})
	var telling atomic.Int64
	in := newInbox(t, func(_ int, got *letter) reply {
		if got.count == 0 {
			telling.Add(1)
			<-stop
		}
		return reply{status: http.StatusNoContent}
	})
	t.Cleanup(func() { close(stop) })
	r := newRig(t)
	r.log.metadata = unique.Make(metadata.Metadata{Type: model.MetricTypeCounter, Help: "h"})
	r.apply(central(in.URL, "  remote_timeout: 5m\n  metadata_config: {send: true, send_interval: 1ms}\n"))
	for i := range 50 {
		r.commit(3, int64(i+1))
	}
	in.wait(3, 50)
	r.commit(3, 51)
	until(t, "metadata is sent", func() bool { return telling.Load() > 0 })
	in.wait(3, 51)
	begun := time.Now()
	if err := r.Close(t.Context()); err != nil || time.Since(begun) > 20*time.Second {
		t.Errorf("closed after %v: %v", time.Since(begun), err)
	}
	if telling.Load() != 1 {
		t.Errorf("%d requests with metadata at once", telling.Load())
	}
}

// Many agents send to one URL as several tenants.
func TestTenantsOfOneURL(t *testing.T) {
	in := newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	tenant := func(name string) string { return central(in.URL, "  headers: {X-Scope-OrgID: "+name+"}\n") }
	r.apply(tenant("a") + tenant("b"))
	r.commit(1, 1)
	until(t, "both have it", func() bool { return in.requests() == 2 })
	r.apply(tenant("b") + tenant("a"))
	r.commit(1, 2)
	until(t, "both have it", func() bool { return in.requests() == 4 })
	for _, name := range []string{"a", "b"} {
		n := 0
		for i := range 4 {
			if in.letter(i).header.Get("X-Scope-OrgID") == name {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%s got %d requests", name, n)
		}
	}
}

// What a destination was sent of a window, it is not sent under another URL.
func TestAnotherURLInTheMiddleOfAWindow(t *testing.T) {
	in := newInbox(t, func(n int, got *letter) reply {
		if n == 0 || got.path == "/b" {
			return reply{status: http.StatusNoContent}
		}
		return reply{status: http.StatusServiceUnavailable}
	})
	r := newRig(t)
	for i := range 10 {
		r.log.commit(7, int64(i+1))
	}
	r.apply(central(in.URL+"/a", ""))
	until(t, "one request is stored, another one tried", func() bool { return in.requests() > 2 })
	r.apply(central(in.URL+"/b", ""))
	in.wait(7, 10)
}

// A series gets another ref when it comes back after the log forgot it.
func TestASeriesByTwoRefs(t *testing.T) {
	in := newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.log.know(1, named(serial(0)))
	r.log.know(2, named(serial(1)))
	r.log.know(3, named(serial(0)))
	r.log.write(logged.Batch{Samples: []record.RefSample{sample(1, 1, 1), sample(2, 1, 1)}})
	r.log.write(logged.Batch{Samples: []record.RefSample{sample(1, 2, 1), sample(2, 2, 1)}})
	r.log.write(logged.Batch{Samples: []record.RefSample{sample(3, 3, 1), sample(2, 3, 1)}})
	r.apply(fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 5ms, min_shards: 7, max_samples_per_send: 100}\n", in.URL))
	in.wait(2, 3)
}

// The agent's own up, logged after what the target says of itself, is sent.
func TestTheLaterOneOfARecord(t *testing.T) {
	w, set := &window{}, &settings{version: 1}
	cache := newSeriesCache()
	w.reset(logged.Position{Generation: 1}, 2, 10)
	w.add(&logged.Batch{Samples: []record.RefSample{sample(1, 5, 7), sample(2, 5, 1), sample(1, 5, 1), sample(1, 4, 9)}}, set, cache, lookupNamed)
	var got []float64
	var r request
	for shard := range 2 {
		w.next(shard, set, &r)
		for _, p := range r.points {
			got = append(got, p.v)
		}
	}
	if diff := cmp.Diff([]float64{1, 1}, got); diff != "" || w.points != 2 || w.repeated != 2 {
		t.Errorf("%d points, %d repeated, -want +got:\n%s", w.points, w.repeated, diff)
	}
}

// What the budget takes may have a sample a second time, in a record of fewer.
func TestSkipOfARepeatedSample(t *testing.T) {
	l := newMemLog()
	for i := range 3 {
		l.know(chunks.HeadSeriesRef(i+1), named(serial(i)))
	}
	begin := l.End()
	l.write(logged.Batch{Samples: []record.RefSample{sample(1, 5, 1), sample(2, 5, 1), sample(3, 5, 1)}})
	l.write(logged.Batch{Samples: []record.RefSample{sample(3, 5, 1)}})
	s := &skip{reader: l.Read(begin), cache: newSeriesCache()}
	f := s.to(l.End(), &settings{version: 1, perRequest: 10}, func(*logged.Batch) {})
	if f.sent != 3 || f.left.repeat != 1 {
		t.Errorf("%d points are counted, and %d that are repeated; want 3 and 1", f.sent, f.left.repeat)
	}
}

func lookupNamed(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	return logged.Series{Labels: packed.Of(named(serial(int(ref))))}, true
}

// elsewhere is another destination, which nobody answers for.
const elsewhere = "- {name: elsewhere, url: \"http://127.0.0.1:1/\"}\n"

// A destination that is removed while the budget takes from it leaves nothing
// behind, and is told of again when it is back.
func TestRemovedWhileTheBudgetTakes(t *testing.T) {
	var up atomic.Bool
	dead := newInbox(t, func(int, *letter) reply {
		if !up.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply(central(dead.URL, ""))
	for i := range 50 {
		r.commit(2, int64(i+1))
	}
	until(t, "it was tried", func() bool { return dead.requests() > 0 })
	r.log.drop(logged.Position{Generation: 1, Segment: 2}, lostBudget)
	d := (*r.running.Load())[0]
	r.apply(elsewhere)
	dead.quiet()
	d.giveUp(logged.Position{Generation: 1, Segment: 4}, lostBudget)
	if n := value(t, r.reg, "torchbearer_remote_samples_lost_total", "reason", lostBudget); n != 0 {
		t.Errorf("%v samples are counted for a destination that is gone", n)
	}
	r.log.drop(logged.Position{Generation: 1, Segment: 4}, lostBudget)
	up.Store(true)
	r.apply(central(dead.URL, ""))
	until(t, "what is left arrives", func() bool { return len(dead.stored()[serial(1)]) == 10 })
}

// Pending is what it says after a destination came back.
func TestPendingOfOneThatCameBack(t *testing.T) {
	var down atomic.Bool
	in := newInbox(t, func(int, *letter) reply {
		if down.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.apply(central(in.URL, "  name: a\n"))
	r.commit(5, 1)
	in.wait(5, 1)
	until(t, "it is answered", func() bool { return r.log.lowest() == r.log.End() })
	r.apply(elsewhere)
	r.commit(5, 2)
	r.apply(central(in.URL, "  name: a\n"))
	in.wait(5, 2)
	until(t, "all is answered", func() bool { return (*r.running.Load())[0].sentUntil() == r.log.End() })
	down.Store(true)
	r.commit(5, 3)
	until(t, "it is pending", func() bool {
		return value(t, r.reg, "prometheus_remote_storage_samples_pending", "remote_name", "a") == 5
	})
}

// Claims are made before there is anything to give up.
func TestGiveUpAtOnce(t *testing.T) {
	r := newRig(t)
	for i := range 30 {
		r.log.commit(1, int64(i+1))
	}
	in := newInbox(t, always(http.StatusNoContent))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				r.log.drop(logged.Position{Generation: 1, Segment: 2}, lostBudget)
			}
		}
	}()
	r.apply(central(in.URL, ""))
	until(t, "the rest arrives", func() bool { return len(in.stored()[serial(0)]) >= 10 })
	close(stop)
	<-done
}

func TestCloseWhileTheLogCannotBeRead(t *testing.T) {
	var up atomic.Bool
	in := newInbox(t, func(int, *letter) reply {
		if !up.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	r.log.commit(3, 1)
	r.apply(central(in.URL, ""))
	until(t, "it was tried", func() bool { return in.requests() > 0 })
	r.restart()
	in.quiet()
	r.log.mu.Lock()
	r.log.unreadable = true
	r.log.mu.Unlock()
	up.Store(true)
	r.apply(central(in.URL, ""))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); err == nil {
		t.Error("everything was sent?")
	}
	r.log.mu.Lock()
	r.log.unreadable = false
	r.log.mu.Unlock()
	r.restart()
	r.apply(central(in.URL, ""))
	in.wait(3, 1)
}
