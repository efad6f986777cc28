// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// TestSimulation drives clock, disk, network and kills by a seed, through log,
// hold, journals and shipper, and checks what arrived. Its time is not real: it
// goes on when all wait, and stands while a request is on its way. SIM_SEEDS is
// how many seeds, SIM_FIRST the first of them, SIM_SEED a single one. A seed
// fixes what is done and when, but not how goroutines take turns.
func TestSimulation(t *testing.T) {
	first, count := uint64(1), uint64(60)
	for name, to := range map[string]*uint64{"SIM_SEEDS": &count, "SIM_FIRST": &first} {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			*to = n
		}
	}
	if n, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64); err == nil {
		first, count = n, 1
	}
	for seed := first; seed < first+count; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed, (*simulation).play)
		})
	}
}

// simulation is one run. Its fields are for the goroutine of the test, unless
// they say otherwise.
type simulation struct {
	t        *testing.T
	rnd      *rand.Rand
	receiver *simReceiver
	url      string
	root     string // of the directories of all lives
	dir      string
	config   simConfig
	pace     simPace

	agent  *Agent
	reg    *prometheus.Registry
	lives  int
	step   atomic.Int64 // of the clock, in nanoseconds; for all
	killed string       // copy of the directory, made when a request met the kill; guarded by receiver.mu

	budget     int64
	gentle     bool // nothing is killed
	fromCache  bool
	slowClaims bool // to claim a part of the log takes long
	churn      int
	last       int64
	times      map[int64]bool // timestamps that were given
	committed  []simSample
	newest     map[string]int64 // committed of each series
	old        map[int]bool     // index in committed: older than what its series had
	excused    map[int]bool     // the same: a power cut may have taken it
	lost       map[string]float64
	refused    map[string]float64
	flaky      bool // a request may have been stored in part, or unheard
	clean      bool // so far no process was killed
	powerless  bool // the power was cut
	renamed    bool // counters ended with the name of what they are of
	did        []string
	auditor    *rand.Rand      // decides when the ledgers are looked at
	began      map[audited]int // how much was committed when a ledger began
	audits     int
	sent       map[string]int64 // as the ledgers say, of all lives
}

// simulate lets script play with what a seed gives.
func simulate(t *testing.T, seed uint64, script func(*simulation)) {
	t.Helper()
	r := newSimReceiver(rand.New(rand.NewPCG(seed, 2)))
	server := httptest.NewUnstartedServer(r)
	// A connection that waits for a request would hold the clock.
	server.Config.SetKeepAlivesEnabled(false)
	server.Start()
	defer server.Close()
	root := memory(t)
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{
			t: t, rnd: rand.New(rand.NewPCG(seed, 1)), receiver: r, url: server.URL, root: root, dir: filepath.Join(root, "0"), pace: hurried(),
			times: map[int64]bool{}, newest: map[string]int64{}, old: map[int]bool{}, excused: map[int]bool{},
			lost: map[string]float64{}, refused: map[string]float64{}, clean: true,
			auditor: rand.New(rand.NewPCG(seed, 3)), sent: map[string]int64{},
		}
		script(s)
		s.finish()
		if t.Failed() {
			t.Logf("seed %d; what was done: %s", seed, strings.Join(s.did, ", "))
		}
	})
}

// play does what the seed says.
func (s *simulation) play() {
	s.config.two = s.rnd.IntN(2) == 0
	s.fromCache = s.rnd.IntN(3) == 0
	if s.rnd.IntN(5) == 0 {
		s.budget = 150<<10 + s.rnd.Int64N(100<<10)
		s.gentle = s.rnd.IntN(3) > 0
	}
	// Whoever gives up would wait for the claim, and hold the clock.
	s.slowClaims = s.budget == 0 && s.rnd.IntN(4) == 0
	if s.rnd.IntN(4) == 0 {
		s.receiver.most = 1<<10 + s.rnd.IntN(1<<10)
		s.flaky = true
	}
	s.mood(simMood(s.rnd.IntN(3)))
	s.boot()
	for range 8 + s.rnd.IntN(16) {
		s.act()
		if s.auditor.IntN(3) == 0 {
			s.audit()
		}
		if s.t.Failed() {
			return
		}
	}
}

// act does one thing.
func (s *simulation) act() {
	n := s.rnd.IntN(24)
	if s.gentle && n >= 18 && n < 22 {
		n = 9
	}
	switch {
	case n < 9:
		s.scrapes(1+s.rnd.IntN(20), time.Duration(s.rnd.IntN(1000))*time.Millisecond)
	case n < 11:
		s.note("burst")
		s.scrapes(20+s.rnd.IntN(60), 0)
	case n < 13:
		s.wait(time.Duration(s.rnd.IntN(12000)) * time.Millisecond)
	case n < 16:
		s.mood(simMood(s.rnd.IntN(3)))
	case n < 18:
		s.reload()
	case n < 19:
		s.note("kill")
		s.kill(nil)
	case n < 21:
		s.note("kill during a request")
		s.receiver.mu.Lock()
		s.receiver.killIn = 1 + s.rnd.IntN(8)
		s.receiver.mu.Unlock()
	case n < 22:
		s.powerCut()
	case n < 23:
		s.stop()
		s.boot()
	default:
		s.step.Add(int64(s.rnd.IntN(7200)-3600) * int64(time.Second))
		s.note("clock by %s", time.Duration(s.step.Load()))
	}
	s.raise()
}

func (s *simulation) note(format string, args ...any) {
	s.did = append(s.did, fmt.Sprintf(format, args...))
}

func (s *simulation) wait(d time.Duration) {
	s.note("wait %s", d)
	time.Sleep(d)
}

func (s *simulation) mood(m simMood) {
	s.note("mood %d", m)
	s.flaky = s.flaky || m == moodFlaky
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	s.receiver.mood = m
}

func (s *simulation) scrapes(n int, apart time.Duration) {
	series := 1 + s.rnd.IntN(30)
	if s.budget > 0 {
		series += 80
	}
	if s.rnd.IntN(3) == 0 {
		s.churn += s.rnd.IntN(series)
	}
	s.scrapesOf(series, n, apart)
}

// scrapesOf writes n scrapes of the same series.
func (s *simulation) scrapesOf(series, n int, apart time.Duration) {
	s.note("%d scrapes of %d series", n, series)
	for range n {
		s.commit(series)
		time.Sleep(apart)
	}
}

// clock is what the machine says that the time is. It is for timestamps only: ages
// and intervals are measured by the monotonic clock, which no step changes.
func (s *simulation) clock() time.Time { return time.Now().Add(time.Duration(s.step.Load())) }

// commit writes a scrape to the process that lives.
func (s *simulation) commit(series int) {
	s.raise()
	s.receiver.mu.Lock()
	defer s.receiver.mu.Unlock()
	if s.killed != "" {
		return
	}
	s.last = s.timestamp()
	a := s.agent.wal.AppenderV2(s.t.Context())
	var samples []simSample
	for i := range series {
		one := simSample{fmt.Sprintf("s%d", s.churn+i), s.last, float64(len(s.committed) + i)}
		ls := labels.FromStrings("__name__", "sequence", "series", one.series)
		_, err := a.Append(0, ls, 0, one.t, one.v, nil, nil, storage.AOptions{})
		switch {
		case err == nil:
			samples = append(samples, one)
		case !errors.Is(err, storage.ErrOutOfOrderSample) || one.t > s.newest[one.series]:
			s.t.Errorf("append: %v", err)
		}
	}
	if err := a.Commit(); err != nil {
		s.t.Errorf("commit: %v", err)
		return
	}
	for _, one := range samples {
		if newest, ok := s.newest[one.series]; ok && one.t < newest {
			s.old[len(s.committed)] = true
		} else {
			s.newest[one.series] = one.t
		}
		s.committed = append(s.committed, one)
	}
}

// timestamp is that of a scrape: by the clock, but no two have the same. With a
// budget it never goes back: else nobody could tell what was lost by what.
func (s *simulation) timestamp() int64 {
	t := s.clock().UnixMilli()
	if s.budget > 0 {
		t = max(s.last+1, t)
	}
	for s.times[t] {
		t++
	}
	s.times[t] = true
	return t
}
