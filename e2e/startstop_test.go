// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// wantOneLine checks how a program that could not start says so.
func wantOneLine(t *testing.T, p *process.Process, code int, parts ...string) {
	t.Helper()
	got, err := p.Wait(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Errorf("exit code is %d, want %d", got, code)
	}
	last := p.Tail(1)
	for _, part := range parts {
		if !strings.Contains(last, part) {
			t.Errorf("the last line does not tell %q: %s", part, last)
		}
	}
	for _, trace := range []string{"goroutine ", "panic:"} {
		if strings.Contains(p.Output(), trace) {
			t.Errorf("it shows a stack:\n%s", p.Output())
		}
	}
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	config := global(time.Second) + remoteWrite("http://127.0.0.1:1/write") + jobs()

	t.Run("port in use", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = taken.Close() })
		dir := t.TempDir()
		path := filepath.Join(dir, "torchbearer.yaml")
		writeFile(t, path, config)
		p := startProcess(t, torchbearer(t), "--config.file="+path, "--storage.agent.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+taken.Addr().String())
		wantOneLine(t, p, 1, taken.Addr().String(), "address already in use")
	})
	t.Run("data directory is a file", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "data"), "")
		wantOneLine(t, runAgent(t, dir, config).Process, 1, filepath.Join(dir, "data"))
	})
	t.Run("data directory of another agent", func(t *testing.T) {
		first := startAgent(t, config)
		second := runAgent(t, first.dir, config)
		wantOneLine(t, second.Process, 1, first.data, "lock")
		if err := process.Answers(t.Context(), first.url+"/-/ready"); err != nil {
			t.Errorf("the first agent is disturbed: %v", err)
		}
	})
	t.Run("unknown flag", func(t *testing.T) {
		wantOneLine(t, startProcess(t, torchbearer(t), "--storage.path=x"), 2, "--storage.path")
	})
	t.Run("bad value of a flag", func(t *testing.T) {
		wantOneLine(t, startProcess(t, torchbearer(t), "--log.level=loud"), 2, "debug, info, warn, error", "loud")
	})
	t.Run("no config", func(t *testing.T) {
		wantOneLine(t, runAgent(t, t.TempDir(), "").Process, 2, "torchbearer.yaml", "does not exist")
	})
	t.Run("config is a directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "torchbearer.yaml"), 0o700); err != nil {
			t.Fatal(err)
		}
		wantOneLine(t, runAgent(t, dir, "").Process, 2, "torchbearer.yaml", "directory")
	})
	t.Run("required label missing", func(t *testing.T) {
		p := runAgent(t, t.TempDir(), strings.Replace(config, "    clustername: "+cluster+"\n", "", 1))
		wantOneLine(t, p.Process, 2, "clustername")
	})
	t.Run("variable not set", func(t *testing.T) {
		p := runAgent(t, t.TempDir(), strings.Replace(config, cluster, "${NOBODY_SETS_THIS}", 1))
		wantOneLine(t, p.Process, 2, "NOBODY_SETS_THIS")
	})
	t.Run("huge config", func(t *testing.T) {
		p := runAgent(t, t.TempDir(), config+strings.Repeat("# a long, long comment\n", 50<<20/23))
		wantOneLine(t, p.Process, 2, "torchbearer.yaml")
	})
}

// TestUnwritableDataDirectory needs a user whom permissions bind.
func TestUnwritableDataDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		// Root writes anywhere but below /proc.
		p := startProcess(t, torchbearer(t), "--config.file="+goodFile(t), "--storage.agent.path=/proc/torchbearer",
			"--web.listen-address="+freeAddress(t))
		wantOneLine(t, p, 1, "/proc/torchbearer")
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, torchbearer(t), "--config.file="+goodFile(t), "--storage.agent.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+freeAddress(t))
	wantOneLine(t, p, 1, dir, "permission denied")
}

func goodFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "good.yaml")
	writeFile(t, path, global(time.Second)+remoteWrite("http://127.0.0.1:1/write")+jobs())
	return path
}

// TestStop: whatever the receiver does, SIGTERM ends the agent within its flush deadline and two seconds, with 0.
func TestStop(t *testing.T) {
	t.Parallel()
	const deadline = 2 * time.Second
	limit := deadline + 2*time.Second
	if raced(t) {
		limit += time.Second // The race detector sleeps before it lets a program end.
	}
	f := func(name string, sig os.Signal, url func(t *testing.T) string) {
		t.Run(name, func(t *testing.T) {
			inThree(t, func() error {
				code, took := stopped(t, sig, url(t), "--storage.remote.flush-deadline="+deadline.String())
				if code != 0 {
					t.Errorf("it ended with %d", code)
				}
				if took > limit {
					return fmt.Errorf("it ended after %s, want %s at most", took, limit)
				}
				return nil
			})
		})
	}
	hanging := func(t *testing.T) string {
		t.Helper()
		dest := startReceiver(t)
		dest.Hang()
		return dest.URL()
	}
	f("receiver is dead", syscall.SIGTERM, func(*testing.T) string { return "http://127.0.0.1:1/write" })
	f("receiver hangs", syscall.SIGTERM, hanging)
	f("receiver hangs, interrupt", os.Interrupt, hanging)
	f("receiver is healthy", syscall.SIGTERM, func(t *testing.T) string {
		t.Helper()
		return startReceiver(t).URL()
	})
}

// stopped runs an agent that has something to send, and ends it.
func stopped(t *testing.T, sig os.Signal, url string, flags ...string) (code int, took time.Duration) {
	t.Helper()
	var scrapes atomic.Int64
	app := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scrapes.Add(1)
		exposes(plain, "app 1\n").ServeHTTP(w, r)
	}))
	a := startAgent(t, global(time.Second)+remoteWrite(url, soon)+jobs(job("app", []string{app})), flags...)
	a.until(t, 60*time.Second, "there is something to send", func(context.Context) error {
		return atLeast("scrapes", int(scrapes.Load()), 2)
	})
	begin := time.Now()
	if err := a.Signal(sig); err != nil {
		t.Fatal(err)
	}
	code, err := a.Wait(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return code, time.Since(begin)
}

// inThree wants a time to be kept in one of three attempts: a busy machine may spoil one or two, a slow program spoils all.
func inThree(t *testing.T, attempt func() error) {
	t.Helper()
	var err error
	for range 3 {
		if err = attempt(); err == nil {
			return
		}
		t.Log(err)
	}
	t.Error(err)
}

// TestFirstScrape comes within a second of the start, or one interval where that is shorter.
func TestFirstScrape(t *testing.T) {
	t.Parallel()
	inThree(t, func() error {
		if took := firstScrape(t); took > time.Second {
			return fmt.Errorf("the first scrape came %s after the start, want 1s at most", took)
		}
		return nil
	})
}

func firstScrape(t *testing.T) time.Duration {
	t.Helper()
	first := make(chan time.Time, 1)
	app := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case first <- time.Now():
		default:
		}
		exposes(plain, "app 1\n").ServeHTTP(w, r)
	}))
	dest := startReceiver(t)
	begin := time.Now()
	// Targets are scraped at a place in the interval that depends on their names: with a short one that adds little.
	a := startAgent(t, global(200*time.Millisecond)+remoteWrite(dest.URL(), soon)+jobs(job("app", []string{app})))
	defer a.Close()
	select {
	case at := <-first:
		wantUp(t, a, dest, "app")
		return at.Sub(begin)
	case <-time.After(60 * time.Second):
		t.Fatal("no scrape within a minute")
		return 0
	}
}
