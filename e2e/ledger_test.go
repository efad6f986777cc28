// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// told is what an agent tells of a destination.
type told struct {
	Name           string
	Pending        int64
	BacklogBytes   int64
	BacklogSeconds float64
	BudgetHours    *float64
	LastSuccess    *time.Time
	LastError      string
	Ledger         struct {
		Scraped, Inherited, Sent, Pending int64
		Counting                          bool
		Lost, LeftOut                     map[string]int64
	}
}

func (d *told) lost() (n int64) {
	for _, lost := range d.Ledger.Lost {
		n += lost
	}
	return n
}

// adds says whether the ledger adds up, to the sample.
func (d *told) adds() error {
	sum := d.Ledger.Sent + d.Ledger.Pending + d.lost()
	for _, n := range d.Ledger.LeftOut {
		sum += n
	}
	if sum != d.Ledger.Scraped || d.Pending != d.Ledger.Pending || d.Ledger.Pending < 0 {
		return fmt.Errorf("the ledger does not add up to %d: %+v", sum, d)
	}
	return nil
}

func (a *agent) destinations(ctx context.Context) ([]told, error) {
	var all []told
	err := process.API(ctx, a.url+"/api/v1/status/destinations", &all)
	return all, err
}

// ledgers is an agent whose ledgers are held against what counting receivers have.
type ledgers struct {
	*agent
	t     *testing.T
	rnd   *rand.Rand
	dests map[string]*receiver.Receiver
	base  map[string]int // what each had when this process began to send to it
	flags []string
	text  string
	polls int
}

// start runs the agent, or the next process of it.
func (l *ledgers) start() {
	l.t.Helper()
	dir := l.t.TempDir()
	if l.agent != nil {
		dir = l.dir
	}
	for name, dest := range l.dests {
		l.base[name] = settled(l.t, dest)
	}
	l.agent = runAgent(l.t, dir, l.text, l.flags...)
	l.until(l.t, 60*time.Second, "it is ready", func(ctx context.Context) error { return process.Answers(ctx, l.url+"/-/ready") })
}

// settled is how many samples a receiver has once nothing comes any more.
func settled(t *testing.T, dest *receiver.Receiver) (total int) {
	t.Helper()
	until(t, 20*time.Second, "nothing is on its way", func(context.Context) error {
		before := total
		if total = dest.Total(); total != before || before == 0 && dest.Requests() > 0 {
			return fmt.Errorf("%d samples, %d before", total, before)
		}
		return nil
	})
	return total
}

// poll looks at the ledgers, at random moments for a while.
func (l *ledgers) poll(d time.Duration) {
	l.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Duration(l.rnd.IntN(120)) * time.Millisecond) {
		before := map[string]int{}
		for name, dest := range l.dests {
			before[name] = dest.Total()
		}
		all, err := l.destinations(l.t.Context())
		if err != nil {
			l.t.Fatal(err)
		}
		for i := range all {
			st := &all[i]
			dest := l.dests[st.Name]
			had, has := int64(before[st.Name]-l.base[st.Name]), int64(dest.Total()-l.base[st.Name])
			if err := st.adds(); err != nil {
				l.t.Error(err)
			}
			if st.Ledger.Sent > has || !st.Ledger.Counting && had > st.Ledger.Sent+st.Ledger.Pending {
				l.t.Errorf("%s had %d samples before and %d after, and the ledger says: %+v", st.Name, had, has, st)
			}
			l.polls++
		}
	}
}

// drained waits until nothing is pending, and holds what was sent against what came.
func (l *ledgers) drained() {
	l.t.Helper()
	var all []told
	l.until(l.t, 60*time.Second, "all is answered", func(ctx context.Context) (err error) {
		all, err = l.destinations(ctx)
		for i := range all {
			if all[i].Pending > 0 || all[i].Ledger.Counting {
				err = errors.Join(err, fmt.Errorf("%+v", all[i]))
			}
		}
		return err
	})
	for i := range all {
		st := &all[i]
		if err := st.adds(); err != nil {
			l.t.Error(err)
		}
		if came := int64(l.dests[st.Name].Total() - l.base[st.Name]); came != st.Ledger.Sent {
			l.t.Errorf("%s has %d samples of this process, and the ledger says: %+v", st.Name, came, st)
		}
		if st.LastSuccess == nil || st.BacklogSeconds != 0 {
			l.t.Errorf("%s is behind, or has stored nothing: %+v", st.Name, st)
		}
	}
}

// ledgerConfig ships to named receivers.
func ledgerConfig(fleet *load.Fleet, names []string, dests map[string]*receiver.Receiver) string {
	var text strings.Builder
	text.WriteString(global(500*time.Millisecond) + "remote_write:\n")
	for i, name := range names {
		message := messageV2
		if i%2 == 1 {
			message = messageV1
		}
		fmt.Fprintf(&text, "- {name: %s, url: %q, %s, queue_config: {batch_send_deadline: 100ms, min_backoff: 30ms, max_backoff: 200ms, max_samples_per_send: 100}}\n",
			name, dests[name].URL(), message)
	}
	return text.String() + jobs(job("load", fleet.Addresses()))
}

// TestLedgerUnderFaults: at any moment, whatever happens to receiver and agent, the
// ledger adds up and agrees with what the receivers count.
func TestLedgerUnderFaults(t *testing.T) {
	const seed = 5
	fleet := startFleet(t, load.Options{Targets: 4, Series: 40})
	l := &ledgers{
		t: t, rnd: rand.New(rand.NewPCG(seed, 0)), base: map[string]int{},
		dests: map[string]*receiver.Receiver{"a": startReceiver(t), "b": startReceiver(t)},
		flags: []string{"--storage.remote.flush-deadline=1s"},
	}
	a, b := l.dests["a"], l.dests["b"]
	l.text = ledgerConfig(fleet, []string{"a"}, l.dests)
	l.start()
	faults := []func(){
		func() { a.Status(http.StatusServiceUnavailable) },
		func() { a.Hang() },
		func() { a.Refuse(func(s receiver.Series) bool { return s.Labels.Get("series") == "7" }) },
		func() {
			a.SetBehaviour(func(_ int, r *http.Request) *receiver.Answer {
				if r.ContentLength > 1500 {
					return &receiver.Answer{Status: http.StatusRequestEntityTooLarge}
				}
				return nil
			})
		},
		func() {
			if err := l.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if _, err := l.Wait(20 * time.Second); err != nil {
				t.Error(err)
			}
			l.start()
		},
		func() {
			stop(t, l.agent)
			l.start()
		},
		func() {
			l.text = ledgerConfig(fleet, []string{"a", "b"}, l.dests)
			l.base["b"] = b.Total()
			writeFile(t, l.config, l.text)
			if status, body, err := process.Post(t.Context(), l.url+"/-/reload"); err != nil || status != http.StatusOK {
				t.Errorf("reload: %d %s %v", status, body, err)
			}
		},
	}
	l.rnd.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	for _, fault := range faults {
		fault()
		l.poll(1500 * time.Millisecond)
		if l.rnd.IntN(2) == 0 {
			a.SetBehaviour(nil)
			a.Refuse(nil)
			l.poll(500 * time.Millisecond)
		}
	}
	a.SetBehaviour(nil)
	l.poll(time.Second)
	pause(t, l.agent, fleet, 500*time.Millisecond)
	stopScraping(t, l, fleet)
	l.drained()
	if l.polls < 50 {
		t.Errorf("the ledgers were looked at %d times", l.polls)
	}
}

// stopScraping reloads without jobs, so that nothing more is logged.
func stopScraping(t *testing.T, l *ledgers, fleet *load.Fleet) {
	t.Helper()
	scrapes := jobs(job("load", fleet.Addresses()))
	writeFile(t, l.config, l.text[:len(l.text)-len(scrapes)])
	if status, body, err := process.Post(t.Context(), l.url+"/-/reload"); err != nil || status != http.StatusOK {
		t.Fatalf("reload: %d %s %v", status, body, err)
	}
}

// TestLedgerOfABudget: what a tiny disk budget takes is lost to the sample, and all
// that was scraped is in the ledger.
func TestLedgerOfABudget(t *testing.T) {
	fleet := startFleet(t, load.Options{Targets: 4, Series: 1500, Exemplars: true})
	l := &ledgers{
		t: t, rnd: rand.New(rand.NewPCG(1, 0)), base: map[string]int{},
		dests: map[string]*receiver.Receiver{"a": startReceiver(t)},
		flags: []string{"--storage.agent.max-bytes=16MiB"},
	}
	a := l.dests["a"]
	l.text = ledgerConfig(fleet, []string{"a"}, l.dests)
	a.Hang()
	l.start()
	l.until(t, 90*time.Second, "the budget takes something", func(ctx context.Context) error {
		all, err := l.destinations(ctx)
		if err == nil && all[0].Ledger.Lost["budget"] == 0 {
			err = fmt.Errorf("%+v", all[0])
		}
		return err
	})
	l.poll(3 * time.Second)
	a.SetBehaviour(nil)
	l.poll(time.Second)
	pause(t, l.agent, fleet, 500*time.Millisecond)
	stopScraping(t, l, fleet)
	l.drained()

	all, err := l.destinations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The library counts by itself what it was given to log.
	appended, err := l.metric(t.Context(), `prometheus_agent_samples_appended_total{type="float"}`)
	if st := all[0]; err != nil || float64(st.Ledger.Scraped) != appended || st.lost() != st.Ledger.Lost["budget"] ||
		int64(a.Distinct())+st.lost() != st.Ledger.Scraped {
		t.Errorf("%v samples were logged (%v), %d came, and the ledger says: %+v", appended, err, a.Distinct(), st)
	}
}
