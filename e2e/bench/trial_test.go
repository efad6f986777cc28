// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	"golang.org/x/sys/unix"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// staged is a trial of two targets of two series, that stands without an agent.
func staged(t *testing.T) *trial {
	t.Helper()
	tr := &trial{scenario: scenario{load: load.Options{Targets: 2, Series: 2}}}
	var err error
	if tr.fleet, err = load.Open(tr.scenario.load); err != nil {
		t.Fatal(err)
	}
	d := receiver.NewCounter(load.Step, load.Prefix)
	tr.destinations = []*receiver.Counter{d}
	if err := d.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// scrape asks a target.
func (t *trial) scrape(tb testing.TB, target int) {
	tb.Helper()
	status, _, err := process.Get(context.Background(), "http://"+t.fleet.Addresses()[target])
	if err != nil || status != http.StatusOK {
		tb.Fatalf("scrape target %d: %d, %v", target, status, err)
	}
}

// send brings samples of a series of a target to the receiver: pairs of number and time.
func (t *trial) send(tb testing.TB, target, series int, pairs ...int) {
	tb.Helper()
	ts := prompb.TimeSeries{Labels: []prompb.Label{
		{Name: "__name__", Value: load.Metric}, {Name: "instance", Value: t.fleet.Addresses()[target]}, {Name: "series", Value: strconv.Itoa(series)},
	}}
	for i := 0; i < len(pairs); i += 2 {
		ts.Samples = append(ts.Samples, prompb.Sample{Value: float64(pairs[i]), Timestamp: int64(pairs[i+1])})
	}
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{ts}}).Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, t.destinations[0].URL(), bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		tb.Fatalf("it was answered %d", resp.StatusCode)
	}
}

// TestAudit: what is lost and what came too often do not make up for one another.
func TestAudit(t *testing.T) {
	f := func(what string, lost, repeated float64, send func(tr *trial)) {
		t.Helper()
		tr := staged(t)
		for range 3 {
			tr.scrape(t, 0)
		}
		tr.scrape(t, 1)
		send(tr)
		result := unmeasured()
		if err := tr.audit(&result); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if result.lost != lost || result.repeated != repeated {
			t.Errorf("%s: %v are lost and %v repeated, want %v and %v", what, result.lost, result.repeated, lost, repeated)
		}
	}
	all := func(tr *trial) {
		for series := range 2 {
			tr.send(t, 0, series, 1, 10, 2, 20, 3, 30)
			tr.send(t, 1, series, 1, 10)
		}
	}
	f("all", 0, 0, all)
	f("nothing", 8, 0, func(*trial) {})
	f("one series of a target", 1, 0, func(tr *trial) {
		tr.send(t, 0, 0, 1, 10, 2, 20, 3, 30)
		tr.send(t, 0, 1, 1, 10, 3, 30)
		tr.send(t, 1, 0, 1, 10)
		tr.send(t, 1, 1, 1, 10)
	})
	f("the same again", 0, 2, func(tr *trial) {
		all(tr)
		tr.send(t, 0, 0, 1, 10, 2, 20)
	})
	f("a number at another time, in place of one that lacks", 1, 1, func(tr *trial) {
		all(tr)
		tr.scrape(t, 1)
		tr.send(t, 1, 0, 2, 20, 1, 30)
	})
	f("what no target has shown", 0, 1, func(tr *trial) {
		all(tr)
		tr.send(t, 1, 0, 2, 20)
	})
}

// TestLag: the oldest scrape counts of which anything lacks, whatever came of younger ones.
func TestLag(t *testing.T) {
	tr := staged(t)
	d, address := tr.destinations[0], tr.fleet.Addresses()[0]
	if lag := tr.lag(d); lag != 0 {
		t.Errorf("without any scrape it is %s behind", lag)
	}
	tr.scrape(t, 0)
	ended := tr.fleet.Scrapes(0)[0].Ended
	tr.scrape(t, 0)
	tr.send(t, 0, 0, 1, 10, 2, 20)
	tr.send(t, 0, 1, 2, 20)
	if k := tr.missing(d, address, 2); k != 1 {
		t.Errorf("scrape %d is missing, want 1", k)
	}
	if lag, least := tr.lag(d), time.Since(ended); lag < least-time.Second || lag > least+time.Second || lag <= 0 {
		t.Errorf("it is %s behind, want about %s", lag, least)
	}
	tr.send(t, 0, 1, 1, 10)
	if k, lag := tr.missing(d, address, 2), tr.lag(d); k != 0 || lag != 0 {
		t.Errorf("scrape %d is missing, %s behind, with all there", k, lag)
	}
	if k := tr.missing(d, address, 3); k != 3 {
		t.Errorf("scrape %d is missing, want 3, which has not come", k)
	}
}

// TestTrial measures torchbearer under a small one of each load.
func TestTrial(t *testing.T) {
	path, err := process.Torchbearer()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range scenarios() {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			s := setting{length: 6 * time.Second, warm: time.Second, dir: t.TempDir()}
			small := one.changed(changes{targets: 3, series: 20, interval: 500 * time.Millisecond})
			tr := trial{scenario: small, agent: agent{name: ours, path: path, message: receiver.ProtocolV2}, setting: s, disk: true}
			c, err := tr.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(c)
			if left, err := filepath.Glob(filepath.Join(s.dir, "*")); err != nil || len(left) > 0 {
				t.Errorf("it leaves %v behind, %v", left, err)
			}
			if small.event == starting {
				if c.start <= 0 || !math.IsNaN(c.cpu) {
					t.Errorf("the start took %v s, each sample %v", c.start, c.cpu)
				}
				return
			}
			if c.lost != 0 || c.repeated != 0 || c.disorder != 0 || c.altered != 0 {
				t.Errorf("%v are lost, %v repeated, %v out of order, %v altered", c.lost, c.repeated, c.disorder, c.altered)
			}
			if c.cpu <= 0 || c.resident <= c.anonymous || c.anonymous <= 0 || c.peak < c.resident*0.9 || c.wire <= 0 || c.sleeps <= 0 || c.work < 0.5 || c.rig <= 0 {
				t.Errorf("it cannot be: %+v", c)
			}
			if (c.caughtUp > 0) != (small.event == outage) || math.IsNaN(c.behindSlow) == (small.event == slow) {
				t.Errorf("caught up in %v s, the slow one %v s behind", c.caughtUp, c.behindSlow)
			}
		})
	}
}

// TestTrialOfNoAgent: that the agent has ended is told in its own words.
func TestTrialOfNoAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho no idea what to do >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tr := trial{scenario: scenarios()[0].changed(changes{targets: 1, series: 1}), agent: agent{path: path}, setting: setting{dir: t.TempDir()}}
	if _, err := tr.run(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "no idea what to do") {
		t.Errorf("it is told as: %v", err)
	}
}

// TestSeparate: agents run on a processor on which nothing of the rig does. It is the last test, as this process stays on
// the others.
func TestSeparate(t *testing.T) {
	cpus, err := separate()
	if err != nil {
		t.Fatal(err)
	}
	if !cpus.apart() {
		t.Skip("there is only one processor")
	}
	if cpus.agents.Count() != 1 || runtime.GOMAXPROCS(0) != cpus.rig.Count() {
		t.Errorf("%d processors for agents, %d for the rig, which uses %d", cpus.agents.Count(), cpus.rig.Count(), runtime.GOMAXPROCS(0))
	}
	var p *process.Process
	if err := cpus.start(func() (err error) {
		p, err = process.Start(t.Context(), process.Options{Path: "/bin/sleep", Args: []string{"1000"}})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var child unix.CPUSet
	if err := unix.SchedGetaffinity(p.Pid(), &child); err != nil || child != cpus.agents {
		t.Errorf("the child runs on %v, %v", child, err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		var now unix.CPUSet
		if err := unix.SchedGetaffinity(id, &now); err == nil && now != cpus.rig {
			t.Errorf("thread %d runs on %v", id, now)
		}
	}
}
