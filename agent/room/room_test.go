// SPDX-License-Identifier: Apache-2.0

package room

import (
	"bytes"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// machine is a guard whose memory the test decides.
type machine struct {
	*Guard

	usage usage
	reads int
	at    time.Time
	log   bytes.Buffer
	reg   *prometheus.Registry
}

func newMachine(u usage) *machine {
	m := &machine{usage: u, at: time.Unix(1000, 0), reg: prometheus.NewRegistry()}
	m.Guard = newGuard(log.NewLogfmtLogger(&m.log), m.reg, func() usage {
		m.reads++
		return m.usage
	}, func() time.Time { return m.at })
	return m
}

// later is what the guard says a while later.
func (m *machine) later(created int64) bool {
	m.at = m.at.Add(measureEvery)
	return m.Full(created)
}

func TestClosesNearTheLimitAndOpensMuchLater(t *testing.T) {
	m := newMachine(usage{limit: 1000, live: 500, other: 100, cycle: 1})
	for _, step := range []struct {
		live int64
		want bool
	}{{500, false}, {599, false}, {600, true}, {550, true}, {501, true}, {499, false}, {599, false}, {900, true}} {
		m.usage.live = step.live
		m.usage.cycle++
		if got := m.later(0); got != step.want {
			t.Errorf("with %d live of 1000 and 100 beside it is full: %t", step.live, got)
		}
	}
	text := m.log.String()
	if strings.Count(text, "hardly any memory") != 2 || strings.Count(text, "memory for new series again") != 1 || !strings.Contains(text, "in_use_bytes=700 limit_bytes=1000") {
		t.Errorf("logged:\n%s", text)
	}
}

func TestNoLimitIsAlwaysRoom(t *testing.T) {
	m := newMachine(usage{live: 1 << 40})
	if m.later(1<<30) || m.Limit() != 0 {
		t.Error("it is full without a limit")
	}
	m.usage.limit = 1 << 20
	if !m.later(1<<30) || m.Limit() != 1<<20 {
		t.Error("a limit that is set later does not count")
	}
	want := "# HELP torchbearer_memory_limit_bytes Memory that the process means to keep within (GOMEMLIMIT), 0 for no limit; near it new series are refused.\n" +
		"# TYPE torchbearer_memory_limit_bytes gauge\ntorchbearer_memory_limit_bytes 1.048576e+06\n"
	if err := testutil.GatherAndCompare(m.reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	m.usage.limit = 0
	if m.later(1 << 30) {
		t.Error("it is full after the limit was taken away")
	}
}

// TestABombWithinASecond: many series come at once, and no collection tells of
// them.
func TestABombWithinASecond(t *testing.T) {
	m := newMachine(usage{limit: 100 << 20, live: 20 << 20, cycle: 3})
	created := int64(5000)
	if m.later(created) {
		t.Fatal("it is full at a fifth")
	}
	begun := created
	for ; !m.Full(created); created++ {
		if created > 1e6 {
			t.Fatal("a million series have room in 100 MiB")
		}
	}
	if n := created - begun; n < 50<<10 || n > 52<<10 {
		t.Errorf("%d new series had room in 50 MiB", n)
	}
	if most := 3 + (created-begun)/measureSeries; int64(m.reads) > most {
		t.Errorf("it has measured %d times, want %d at most", m.reads, most)
	}
	// The collection finds that they were not large.
	m.usage.cycle, m.usage.live = 4, 30<<20
	if m.later(created) {
		t.Error("it stays full after the collection")
	}
}

func TestMeasuresOnceASecond(t *testing.T) {
	m := newMachine(usage{limit: 1000, live: 10})
	for range 1000 {
		m.Full(5)
		m.Limit()
	}
	if m.reads != 1 {
		t.Errorf("it has measured %d times", m.reads)
	}
}

// TestRuntime: what Go's runtime tells is what it is meant to be.
func TestRuntime(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	r := newRuntime()
	if debug.SetMemoryLimit(1 << 62); r.read().limit != 1<<62 {
		t.Errorf("the limit is %d", r.read().limit)
	}
	ballast := make([]byte, 32<<20)
	before := r.read().cycle
	debug.FreeOSMemory() // It collects.
	u := r.read()
	if u.cycle <= before || u.live < int64(len(ballast)) || u.live > 512<<20 || u.other <= 0 || u.other > 128<<20 {
		t.Errorf("with a ballast of %d bytes: %+v", len(ballast), u)
	}
	for i := range r.samples {
		if r.value(i) == 0 && i != indexFree {
			t.Errorf("%s is not known", r.samples[i].Name)
		}
	}
	ballast[0] = 1
	if n := testing.AllocsPerRun(10, func() { r.read() }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}
