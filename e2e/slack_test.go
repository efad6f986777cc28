// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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
