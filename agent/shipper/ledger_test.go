// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/status"
)

// ledgerOf is the ledger of the first destination.
func (r *rig) ledgerOf() status.Ledger { return r.Status()[0].Ledger }

// without is a map without its zeroes.
func without(m map[string]int64) map[string]int64 {
	some := map[string]int64{}
	for k, n := range m {
		if n != 0 {
			some[k] = n
		}
	}
	return some
}

// unanswered counts the points of the log that no answer covers, by the journal
// and the log alone.
func (r *rig) unanswered() int64 {
	d := (*r.running.Load())[0]
	d.journalling.Lock()
	st := d.state.clone()
	d.journalling.Unlock()
	from, n := st.Sent, 0
	if st.Window != nil {
		from, n = st.Window.End, st.Window.Points
	}
	reader, b := r.log.Read(from), &logged.Batch{}
	for reader.Next(b) {
		n += b.Points()
	}
	return int64(n)
}

// settles waits until all is answered and the ledger is as it should be.
func (r *rig) settles(want status.Ledger) {
	r.t.Helper()
	if want.Lost == nil {
		want.Lost = map[string]int64{}
	}
	if want.LeftOut == nil {
		want.LeftOut = map[string]int64{}
	}
	var got status.Ledger
	deadline := time.Now().Add(30 * time.Second)
	for {
		got = r.ledgerOf()
		got.Since, got.Lost, got.LeftOut = time.Time{}, without(got.Lost), without(got.LeftOut)
		if cmp.Equal(want, got) || time.Now().After(deadline) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("-want +got:\n%s", diff)
	}
}

// put logs a record of n points that stand in it.
func (r *rig) put(b logged.Batch) {
	n := b.Points()
	r.Committing(n)
	r.log.write(b)
	r.Committed(n, 0, 0, 1)
}

func TestLedgerOfWhatReceiversDo(t *testing.T) {
	for name, tc := range map[string]struct {
		reply  func(n int, got *letter) reply
		config string
		want   status.Ledger
	}{
		"all is stored": {always(http.StatusNoContent), "", status.Ledger{Scraped: 210, Sent: 210}},
		"a series is refused": {refusing("out of order sample", serial(2)), "", status.Ledger{
			Scraped: 210, Sent: 180, Lost: map[string]int64{refusedOutOfOrder: 30},
		}},
		"2.0, some is not written": {func(n int, got *letter) reply {
			if n < 3 {
				got.count--
			}
			return reply{status: http.StatusNoContent}
		}, "  protobuf_message: io.prometheus.write.v2.Request\n", status.Ledger{
			Scraped: 210, Sent: 207, Lost: map[string]int64{refusedOther: 3},
		}},
		"all is too old": {always(http.StatusNoContent), "  queue_config: {sample_age_limit: 1h, batch_send_deadline: 5ms}\n", status.Ledger{
			Scraped: 210, Lost: map[string]int64{lostAge: 210},
		}},
		"rules": {always(http.StatusNoContent), "  write_relabel_configs: [{action: labeldrop, regex: x}, {source_labels: [n], regex: '000[12]', action: drop}, {source_labels: [n], regex: 0000, action: keep}]\n", status.Ledger{
			Scraped: 210, Sent: 30, LeftOut: map[string]int64{leftRule: 180},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInbox(t, tc.reply)
			r := newRig(t)
			config := tc.config
			if name != "all is too old" {
				config = "  queue_config: {batch_send_deadline: 5ms, max_samples_per_send: 10, min_backoff: 5ms, max_backoff: 20ms}\n" + config
			}
			r.apply("- url: " + in.URL + "\n" + config)
			for i := range 30 {
				r.commit(7, int64(i+1))
			}
			r.settles(tc.want)
			if name != "rules" {
				return
			}
			var got []int64
			for _, c := range r.RuleCounts() {
				got = append(got, int64(c.Rule), c.Samples)
			}
			if diff := cmp.Diff([]int64{1, 60, 2, 120}, got); diff != "" {
				t.Errorf("rules: -want +got:\n%s", diff)
			}
			if n := value(t, r.reg, "torchbearer_write_relabel_dropped_samples_total", "rule", "3"); n != 120 {
				t.Errorf("the metric of the third rule is %v", n)
			}
			if n := value(t, r.reg, "torchbearer_destination_left_out_samples_total", "reason", leftRule); n != 180 {
				t.Errorf("the metric of what is left out is %v", n)
			}
		})
	}
}

// What is no ordinary sample counts once, as it was logged.
func TestLedgerOfWhatIsLogged(t *testing.T) {
	native := &histogram.Histogram{Count: 1, ZeroCount: 1}
	for name, tc := range map[string]struct {
		write func(r *rig)
		want  status.Ledger
	}{
		"unwanted histograms": {func(r *rig) {
			r.put(logged.Batch{Histograms: []record.RefHistogramSample{{Ref: 1, T: 1, H: native}, {Ref: 2, T: 1, H: native}}})
		}, status.Ledger{Scraped: 2, LeftOut: map[string]int64{leftHistogram: 2}}},
		"repeated": {func(r *rig) {
			r.put(logged.Batch{Samples: []record.RefSample{sample(1, 5, 1), sample(2, 5, 1)}})
			r.put(logged.Batch{Samples: []record.RefSample{sample(1, 5, 2), sample(2, 4, 1), sample(1, 6, 1)}})
		}, status.Ledger{Scraped: 5, Sent: 3, LeftOut: map[string]int64{leftRepeat: 2}}},
		"unknown": {func(r *rig) {
			r.put(logged.Batch{Samples: []record.RefSample{sample(1, 5, 1), sample(77, 5, 1)}})
		}, status.Ledger{Scraped: 2, Sent: 1, Lost: map[string]int64{lostUnknown: 1}}},
		"not logged": {func(r *rig) {
			r.commit(2, 1)
			r.Committing(5)
			r.Lost(5, lostNoSpace)
			r.Committing(3)
			r.Lost(3, lostUnwritten)
		}, status.Ledger{Scraped: 10, Sent: 2, Lost: map[string]int64{lostNoSpace: 5, lostUnwritten: 3}}},
		"logged, and never told": {func(r *rig) {
			r.log.commit(4, 1)
			r.commit(4, 2)
		}, status.Ledger{Scraped: 8, Sent: 8}},
		"told, and not in the log": {func(r *rig) {
			r.commit(4, 1)
			r.Committing(9)
			r.Committed(9, 0, 0, 1)
			r.commit(4, 2)
		}, status.Ledger{Scraped: 17, Sent: 8, Lost: map[string]int64{lostDamaged: 9}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInbox(t, always(http.StatusNoContent))
			r := newRig(t)
			r.log.know(1, named(serial(0)))
			r.log.know(2, named(serial(1)))
			r.apply(central(in.URL, ""))
			tc.write(r)
			r.settles(tc.want)
		})
	}
}

// A histogram that is sent as classic series counts once, and a sample that ends
// it counts once.
func TestLedgerOfConverted(t *testing.T) {
	in := newInbox(t, always(http.StatusNoContent))
	r := newRig(t)
	r.log.know(1, named(serial(0)))
	r.apply(central(in.URL, "  convert_nhcb_to_classic: true\n"))
	r.log.know(2, labels.FromStrings("n", "nameless"))
	r.put(logged.Batch{Histograms: []record.RefHistogramSample{{Ref: 1, T: 1, H: custom(1, 2)}, {Ref: 1, T: 2, H: custom(1, 3)}}})
	r.put(logged.Batch{Samples: []record.RefSample{sample(1, 3, 1)}})
	r.put(logged.Batch{Samples: []record.RefSample{sample(1, 4, 1)}})
	r.put(logged.Batch{Histograms: []record.RefHistogramSample{{Ref: 2, T: 5, H: custom(1)}}})
	r.settles(status.Ledger{Scraped: 5, Sent: 4, LeftOut: map[string]int64{leftClassicNot: 1}})
}

// What is pending is what the log has without an answer, through budget, refusals,
// restarts and reloads, whenever the receiver is away.
func TestLedgerIsTrueAtAnyMoment(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			var up atomic.Bool
			in := newInbox(t, func(n int, got *letter) reply {
				switch {
				case !up.Load() || n%7 == 6:
					return reply{status: http.StatusServiceUnavailable}
				case got.has(serial(3)):
					return reply{status: http.StatusBadRequest, body: "out of order sample"}
				}
				return reply{status: http.StatusNoContent}
			})
			r := newRig(t)
			r.apply(central(in.URL, ""))
			at, label := int64(0), 0
			for range 25 {
				for range 1 + rnd.IntN(20) {
					at++
					r.commit(7, at)
				}
				up.Store(rnd.IntN(2) == 0)
				switch rnd.IntN(6) {
				case 0:
					r.restart()
					r.apply(central(in.URL, ""))
				case 1:
					label++
					r.apply(central(in.URL, fmt.Sprintf("  write_relabel_configs: [{target_label: l, replacement: v%d}]\n", label)))
				case 2:
					up.Store(false)
					to := r.log.End()
					if to.Segment, to.Offset = to.Segment-2, 0; to.Segment > 0 {
						r.log.drop(to, lostBudget)
					}
				default:
					n := in.requests()
					until(t, "something is tried", func() bool { return in.requests() > n || r.ledgerOf().Pending == 0 })
				}
				up.Store(false)
				until(t, fmt.Sprintf("the ledger is true: %+v, the log has %d", r.ledgerOf(), r.unanswered()), func() bool {
					l := r.ledgerOf()
					return !l.Counting && l.Pending == r.unanswered()
				})
				balanced(t, r.ledgerOf())
			}
			up.Store(true)
			until(t, "all is answered", func() bool { return r.ledgerOf().Pending == 0 && r.unanswered() == 0 })
			balanced(t, r.ledgerOf())
			if found := (*r.running.Load())[0].ledger.found; found != 0 {
				t.Errorf("%d samples were read that nobody had logged", found)
			}
		})
	}
}

func balanced(t *testing.T, l status.Ledger) {
	t.Helper()
	sum := l.Sent + l.Pending
	for _, n := range l.Lost {
		sum += n
	}
	for _, n := range l.LeftOut {
		sum += n
	}
	if sum != l.Scraped || l.Lost[lostDamaged] != 0 {
		t.Errorf("the ledger does not add up: %+v", l)
	}
}

// A restart inherits what has no answer, also of a window that was half sent.
func TestLedgerInherits(t *testing.T) {
	var most atomic.Int64
	in := newInbox(t, func(n int, _ *letter) reply {
		if int64(n) >= most.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	config := fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 5ms, max_samples_per_send: 10, min_shards: 4, max_shards: 4, min_backoff: 5ms, max_backoff: 20ms}\n", in.URL)
	for i := range 30 {
		r.log.commit(7, int64(i+1))
	}
	most.Store(2)
	r.apply(config)
	until(t, "two requests are stored", func() bool { return in.requests() > 4 && r.ledgerOf().Sent > 0 && !r.ledgerOf().Counting })
	until(t, "the ledger is true", func() bool { l := r.ledgerOf(); return l.Pending == r.unanswered() && l.Inherited == 210 })
	left := r.ledgerOf().Pending
	r.restart()
	r.apply(config)
	r.commit(7, 31)
	until(t, "what was left is inherited", func() bool { l := r.ledgerOf(); return !l.Counting && l.Inherited == left && l.Pending == left+7 })
	most.Store(1 << 30)
	r.settles(status.Ledger{Scraped: left + 7, Inherited: left, Sent: left + 7})
}

// Settings that come while a request is being halved: what has its answer counts
// once.
func TestLedgerOfAReloadHalfway(t *testing.T) {
	hangs, reached := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	in := newInbox(t, func(n int, got *letter) reply {
		if got.has(serial(5)) && len(got.series) > 1 {
			return reply{status: http.StatusBadRequest, body: "out of order sample"}
		}
		if n >= 2 && once.CompareAndSwap(false, true) {
			close(reached)
			<-hangs
			return reply{status: http.StatusServiceUnavailable}
		}
		if got.has(serial(5)) {
			return reply{status: http.StatusBadRequest, body: "out of order sample"}
		}
		return reply{status: http.StatusNoContent}
	})
	r := newRig(t)
	config := func(more string) string {
		return fmt.Sprintf("- url: %s\n  queue_config: {batch_send_deadline: 5ms, max_samples_per_send: 100, min_backoff: 5ms, max_backoff: 20ms}\n%s", in.URL, more)
	}
	r.apply(config(""))
	r.commit(60, 1)
	<-reached
	r.apply(config("  write_relabel_configs: [{target_label: l, replacement: v}]\n"))
	close(hangs)
	r.settles(status.Ledger{Scraped: 60, Sent: 59, Lost: map[string]int64{refusedOutOfOrder: 1}})
}

// A destination that comes by a reload begins there, and one that comes back has
// what it was not sent.
func TestLedgerOfReloads(t *testing.T) {
	var up atomic.Bool
	up.Store(true)
	in := newInbox(t, func(int, *letter) reply {
		if !up.Load() {
			return reply{status: http.StatusServiceUnavailable}
		}
		return reply{status: http.StatusNoContent}
	})
	one := func(name string) string {
		return fmt.Sprintf("- {name: %s, url: %q, queue_config: {batch_send_deadline: 5ms, min_backoff: 5ms, max_backoff: 20ms}}\n", name, in.URL+"/"+name)
	}
	r := newRig(t)
	r.apply(one("b"))
	r.commit(3, 1)
	r.settles(status.Ledger{Scraped: 3, Sent: 3})
	r.apply(one("a") + one("b"))
	r.commit(3, 2)
	r.settles(status.Ledger{Scraped: 3, Sent: 3})
	up.Store(false)
	r.commit(3, 3)
	r.apply(one("b"))
	r.commit(3, 4)
	r.apply(one("a") + one("b"))
	r.commit(3, 5)
	up.Store(true)
	r.settles(status.Ledger{Scraped: 9, Inherited: 6, Sent: 9})
}
