// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// A pen is a cgroup whose processes may have so much memory together.
type pen struct{ dir string }

// makePen makes a pen for a test, or skips the test where that cannot be done.
func makePen(t *testing.T, bytes int) pen {
	t.Helper()
	name := fmt.Sprintf("torchbearer-e2e-pen-%d", os.Getpid())
	for _, version := range []struct{ root, file string }{
		{"/sys/fs/cgroup", "memory.max"},                   // version 2
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
	} {
		p := pen{filepath.Join(version.root, name)}
		if _, err := os.Stat(filepath.Join(version.root, "cgroup.procs")); err != nil {
			continue
		}
		if err := os.Mkdir(p.dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() {
			until(t, 10*time.Second, "the cgroup is removed", func(context.Context) error {
				if err := os.Remove(p.dir); !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				return nil
			})
		})
		if err := os.WriteFile(filepath.Join(p.dir, version.file), []byte(strconv.Itoa(bytes)), 0o600); err == nil {
			return p
		}
	}
	t.Skip("no cgroup with a memory limit can be made here; it takes root, and a cgroup file system that can be written to")
	return pen{}
}

// kills counts the processes that the kernel has ended because of the limit.
func (p pen) kills(t *testing.T) int {
	t.Helper()
	for _, file := range []string{"memory.events", "memory.oom_control"} {
		text, err := os.ReadFile(filepath.Join(p.dir, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
				count, err := strconv.Atoi(strings.TrimSpace(n))
				if err != nil {
					t.Fatal(err)
				}
				return count
			}
		}
	}
	t.Fatalf("%s does not tell how many processes were killed", p.dir)
	return 0
}

// lean finds the program without the race detector, which alone takes several times the memory of the program.
func lean(t *testing.T) string {
	t.Helper()
	path := strings.TrimSuffix(torchbearer(t), "-race")
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is only a program with the race detector; make build makes the other")
	}
	return path
}

// startPenned runs torchbearer in a pen, in a folder that may hold what another run has left.
func startPenned(t *testing.T, p pen, dir, config string) *agent {
	t.Helper()
	address := freeAddress(t)
	a := &agent{url: "http://" + address, dir: dir, config: filepath.Join(dir, "torchbearer.yaml"), data: filepath.Join(dir, "data")}
	writeFile(t, a.config, config)
	a.Process = startProcess(t, "/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, p.dir, lean(t),
		"--config.file="+a.config, "--storage.agent.path="+a.data, "--web.listen-address="+address, "--web.enable-lifecycle")
	a.until(t, 60*time.Second, "the agent is ready", func(ctx context.Context) error {
		return process.Answers(ctx, a.url+"/-/ready")
	})
	return a
}

// TestMemory: more series come than the agent's memory can hold. It refuses those that do not fit, is not
// killed by the kernel, and all that it has begun to scrape goes on. Killed in that state, with all that unsent, it starts
// anew in the same memory and sends what is left.
func TestMemory(t *testing.T) {
	const bytes = 112 << 20
	p := makePen(t, bytes)
	app := startFleet(t, load.Options{Series: 200})
	bomb := startFleet(t, load.Options{Targets: 40, Series: 10_000, Labels: `pod="` + strings.Repeat("a-long-name-", 8) + `"`})
	dest := startReceiver(t)
	old := global(4*time.Second) + remoteWrite(dest.URL(), messageV2, soon) +
		jobs(job("app", app.Addresses(), "scrape_interval: 1s", "scrape_timeout: 1s"))
	// What fits of it, however much that is, is to be shipped beside all else.
	both := old + job("bomb", bomb.Addresses(), "scrape_interval: 8s")
	dir := t.TempDir()
	a := startPenned(t, p, dir, old)
	a.answers(t, app, 2)
	a.wantMetric(t, "torchbearer_memory_limit_bytes", bytes*9/10)

	a.apply(t, both)
	a.refusesForMemory(t)
	a.answers(t, bomb, 1)
	wantSteps(t, dest, "bomb", 10_000)
	dest.Hang()
	a.answers(t, app, 3)
	if err := a.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	killed := app.Answered(0)

	a = startPenned(t, p, dir, both)
	dest.SetBehaviour(nil)
	a.refusesForMemory(t)
	a.answers(t, bomb, 1)
	a.until(t, 2*time.Minute, "all has come of what was logged before", func(context.Context) error {
		return wantUntil(dest.Match("__name__", load.Metric, "job", "app"), 200, killed)
	})
	again := app.Answered(0) + 1
	a.until(t, 2*time.Minute, "the small job is scraped whole beside the large one", func(context.Context) error {
		return wantFrom(dest.Match("__name__", load.Metric, "job", "app"), 200, again)
	})
	a.refusesForMemory(t)
	if n := p.kills(t); n != 0 {
		t.Errorf("the kernel has killed %d processes", n)
	}
	if a.Ended() {
		t.Error("the agent has ended")
	}
}

// refusesForMemory waits until series of the job bomb are refused, and checks that the status says why.
func (a *agent) refusesForMemory(t *testing.T) {
	t.Helper()
	a.until(t, 90*time.Second, "series are refused for want of memory", func(ctx context.Context) error {
		n, err := a.metric(ctx, `torchbearer_series_refused_total{job="bomb",reason="memory"}`)
		if err != nil {
			return err
		}
		s, err := a.series(ctx)
		if err == nil && (n == 0 || !strings.Contains(s.Closed, "memory")) {
			err = fmt.Errorf("%v samples are refused, the status is %+v", n, s)
		}
		return err
	})
}

// wantFrom returns an error when not each of so many series has come with a value of first or more.
func wantFrom(found []receiver.Series, series, first int) error {
	n := 0
	for _, s := range found {
		if v := s.Values(); len(v) > 0 && v[len(v)-1] >= float64(first) {
			n++
		}
	}
	if n != series {
		return fmt.Errorf("%d series have come from %d on, want %d", n, first, series)
	}
	return nil
}

// wantUntil returns an error when not each of so many series has begun with each value below last once. What comes
// from there on, of the agent that was started anew, may have been refused until series of other jobs were active.
func wantUntil(found []receiver.Series, series, last int) error {
	whole := 0
	for _, s := range found {
		next := 1
		for _, v := range s.Values() {
			if next < last && v != float64(next) {
				return fmt.Errorf("%s has a gap before %d: %v", s.Labels, next, s.Values())
			}
			next++
		}
		if next >= last {
			whole++
		}
	}
	if whole != series {
		return fmt.Errorf("%d series have come until %d, want %d", whole, last, series)
	}
	return nil
}

// wantSteps checks that at least so many series of a job have come, each with the value of every scrape from its first on.
func wantSteps(t *testing.T, dest *receiver.Receiver, job string, series int) {
	t.Helper()
	found := dest.Match("__name__", load.Metric, "job", job)
	if len(found) < series {
		t.Errorf("%d series of job %s came, want %d or more", len(found), job, series)
	}
	for _, s := range found {
		v := s.Values()
		if len(v) > 0 && v[len(v)-1] != v[0]+float64(len(v)-1) {
			t.Errorf("%s has gaps: %v", s.Labels, v)
			return
		}
	}
}
