// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// A rig is an agent that is killed, stopped, reloaded and started again in one data directory, with targets whose
// answers are numbered and a receiver that counts.
type rig struct {
	t        *testing.T
	seed     uint64
	random   *rand.Rand
	interval time.Duration
	options  load.Options
	fleet    *load.Fleet
	ledger   *receiver.Ledger
	dest     *receiver.Receiver
	trouble  *trouble
	dir      string
	flags    []string
	config   func() string
	*agent   // nil while none runs
	kills    []time.Time
	late     int              // how often it took long to stop
	errors   []string         // lines of the agents that have ended
	fragile  []window         // times in which what was scraped may be refused
	second   *receiver.Ledger // of a destination that was added later; nil when there is none
}

type window struct{ begin, end time.Time }

// newRig starts targets and receiver, which is in trouble until calm. The seed is that of the environment, where there is
// one, and told when the test fails.
func newRig(t *testing.T, options load.Options) *rig {
	t.Helper()
	seed := rand.Uint64() % 1_000_000
	if text := os.Getenv("TORCHBEARER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("environment variable TORCHBEARER_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to run it with the same seed: TORCHBEARER_SEED=%d", seed)
		}
	})
	r := &rig{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), interval: time.Second, options: options,
		fleet: startFleet(t, options), ledger: newLedger(),
		dest: startReceiver(t), dir: t.TempDir(),
		// Much happens within a minute that takes hours otherwise.
		flags: []string{
			"--storage.agent.wal-truncate-frequency=1s", "--storage.agent.retention.min-time=10s",
			"--no-config.auto-reload", "--log.level=warn",
		},
	}
	r.dest.KeepIn(r.ledger)
	r.trouble = troubles(r.random)
	r.dest.SetBehaviour(r.trouble.behaviour)
	message := messageV2
	if r.random.IntN(2) == 0 {
		message = messageV1
	}
	r.config = func() string { return r.ship(r.dest.URL(), message) }
	return r
}

// newLedger takes series for one whatever the agent and the receiver add to their labels.
func newLedger() *receiver.Ledger {
	return receiver.NewLedger("clustername", "environment", "phase", "__type__", "__unit__")
}

// ship is a config with one destination.
func (r *rig) ship(url string, extra ...string) string {
	return global(r.interval) + remoteWrite(url, append(extra, soon)...) + jobs(r.job())
}

func (r *rig) job() string { return job("load", r.fleet.Addresses()) }

// start runs the agent and waits until it says that it is ready.
func (r *rig) start() {
	r.t.Helper()
	begin := time.Now()
	r.agent = runAgent(r.t, r.dir, r.config(), r.flags...)
	r.until(r.t, 60*time.Second, "the agent is ready", func(ctx context.Context) error {
		return process.Answers(ctx, r.url+"/-/ready")
	})
	if took := time.Since(begin); took > 3*time.Second {
		r.t.Logf("it was ready %s after its start", took.Round(time.Millisecond))
	}
}

// kill ends the agent with SIGKILL. It has had time to log what it has got: it and the test have not just been held up by
// a busy machine.
func (r *rig) kill() {
	r.t.Helper()
	r.awake()
	at := time.Now()
	r.Close()
	r.note()
	r.kills = append(r.kills, at)
	r.keep()
	r.fleet.Cut(at.Add(-grace))
	r.agent = nil
}

// awake waits until the agent answers at once, so that what it got before its grace it has been able to log.
func (r *rig) awake() {
	r.t.Helper()
	r.until(r.t, 60*time.Second, "the agent answers at once", func(ctx context.Context) error {
		begin := time.Now()
		time.Sleep(50 * time.Millisecond)
		err := process.Answers(ctx, r.url+"/-/healthy")
		if took := time.Since(begin); err == nil && took > grace/2 {
			err = fmt.Errorf("it took %s", took)
		}
		return err
	})
}

// keep copies what a kill has left on disk into the folder that TORCHBEARER_E2E_KEEP names, to look into a failure.
func (r *rig) keep() {
	r.t.Helper()
	if keep := os.Getenv("TORCHBEARER_E2E_KEEP"); keep != "" {
		to := filepath.Join(keep, fmt.Sprintf("%d-kill-%d", r.seed, len(r.kills)))
		if err := os.CopyFS(to, os.DirFS(r.dir)); err != nil {
			r.t.Error(err)
		}
	}
}

// term ends the agent as Kubernetes does.
func (r *rig) term() {
	r.t.Helper()
	code, took := r.end(syscall.SIGTERM)
	if code != 0 {
		r.t.Errorf("SIGTERM ended it with %d, want 0", code)
	}
	// TestProofStop has what is promised; a busy machine may be late once.
	if took > 8*time.Second {
		r.late++
		r.t.Logf("SIGTERM ended it after %s", took)
	}
	if took > 20*time.Second || r.late > 2 {
		r.t.Errorf("SIGTERM ended it after %s, and %d times after more than 8s", took, r.late)
	}
}

// end ends the agent with a signal that asks for it.
func (r *rig) end(sig os.Signal) (code int, took time.Duration) {
	r.t.Helper()
	r.awake()
	begin := time.Now()
	if err := r.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
	code, err := r.Wait(60 * time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	took = time.Since(begin)
	r.note()
	// A busy agent may take longer to read its last answers than a stop waits for them.
	r.fleet.Cut(begin.Add(-grace / 2))
	r.agent = nil
	return code, took
}

// note keeps what the agent has said of errors.
func (r *rig) note() {
	for line := range strings.Lines(r.Output()) {
		if strings.Contains(line, "level=error") || strings.Contains(line, "panic") {
			r.errors = append(r.errors, strings.TrimSpace(line))
		}
	}
}

// live lets the agent run for a random time.
func (r *rig) live(least, most time.Duration) {
	r.t.Helper()
	life := least + time.Duration(r.random.Int64N(int64(most-least)))
	select {
	case <-r.Done():
		r.t.Fatal("the agent has ended by itself")
	case <-time.After(life):
	}
}

// answered is how many scrapes each target has answered.
func (r *rig) answered() map[string]int {
	all := map[string]int{}
	for i, address := range r.fleet.Addresses() {
		all[address] = r.fleet.Answered(i)
	}
	return all
}

// drain waits until what has been scraped before has come.
func (r *rig) drain(book *receiver.Ledger, timeout time.Duration) {
	r.t.Helper()
	r.drainTo(book, r.answered(), timeout)
}

// drainTo waits until these numbers have come: as each series comes in order, its newest number tells.
func (r *rig) drainTo(book *receiver.Ledger, want map[string]int, timeout time.Duration) {
	r.t.Helper()
	r.until(r.t, timeout, "what was scraped has come", func(context.Context) error {
		for address, n := range want {
			numbers := book.Numbers(receiver.Key(load.Metric, address, "0", ""))
			if len(numbers) == 0 || numbers[len(numbers)-1] < float64(n) {
				return fmt.Errorf("target %s: %d scrapes answered, %d numbers have come", address, n, len(numbers))
			}
		}
		return nil
	})
}

// finish ends the trouble, lets all that is logged come, stops the agent and checks the figures.
func (r *rig) finish() report {
	r.t.Helper()
	r.trouble.end()
	if r.agent != nil {
		r.kill() // Else a parked destination may wait for half a minute.
	}
	r.start()
	r.drain(r.ledger, 120*time.Second)
	r.live(500*time.Millisecond, time.Second)
	r.term()
	return r.check(r.ledger)
}
