// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTimerSlack: all threads of the agent may be woken a millisecond late, the runtime's own that were there before any
// code of the agent among them.
func TestTimerSlack(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may see the timer slack of another process")
	}
	a := startAgent(t, global(time.Second)+remoteWrite("http://127.0.0.1:1/write")+jobs())
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", a.Pid()))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
		if os.IsNotExist(err) || errors.Is(err, syscall.ESRCH) {
			continue // It has ended.
		}
		if got := strings.TrimSpace(string(slack)); err != nil || got != "1000000" {
			t.Errorf("thread %s has %s, %v", filepath.Base(thread), got, err)
		}
	}
	if n := strings.Count(a.Output(), "starting torchbearer"); n != 1 {
		t.Errorf("it says %d times that it starts", n)
	}
}

// TestSleeps: an agent with nothing to do is woken a few times a second, not fifty times as one that looks whether there is
// something to do.
func TestSleeps(t *testing.T) {
	t.Parallel()
	const window, most = 5 * time.Second, 100
	a := startAgent(t, global(15*time.Second)+remoteWrite("http://127.0.0.1:1/write")+jobs())
	var began time.Time
	before := 0
	a.until(t, 60*time.Second, "the agent sleeps", func(context.Context) error {
		if time.Since(began) < window {
			return errors.New("it was not looked at for long")
		}
		now, err := a.Slept()
		if err != nil {
			return err
		}
		n, first := now-before, began.IsZero()
		began, before = time.Now(), now
		if first || n > most {
			return fmt.Errorf("it slept %d times, since its start: %t", n, first)
		}
		t.Logf("it slept %d times in %s", n, window)
		return nil
	})
}
