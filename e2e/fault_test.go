// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/faultfs"
	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// A faulted is a rig whose data directory gives errors when it is told to.
type faulted struct {
	*rig
	fs *faultfs.FS
}

// faultCase is when what goes wrong.
type faultCase struct {
	faultfs.Fault
	again bool // at the second start, with what the first one has left un-sent
}

func (c faultCase) String() string {
	text := "first start"
	if c.again {
		text = "second start"
	}
	text += fmt.Sprintf(", call %d, %s", c.From, map[syscall.Errno]string{syscall.ENOSPC: "ENOSPC", syscall.EIO: "EIO"}[c.Errno])
	if c.Torn {
		text += ", torn"
	}
	return text
}

func startFaulted(t *testing.T) *faulted {
	t.Helper()
	r := calm(t, load.Options{Targets: 2, Series: 10})
	r.interval = 400 * time.Millisecond // Ten agents at once may take a scrape more than the half of it.
	f := &faulted{rig: r}
	data := filepath.Join(r.dir, "data")
	err := os.Mkdir(data, 0o700)
	if err == nil {
		f.fs, err = faultfs.Mount(t.TempDir(), data)
	}
	if err != nil {
		t.Skipf("a file system with faults cannot be made, which takes root and /dev/fuse: %v", err)
	}
	t.Cleanup(func() {
		if _, failed := f.fs.Began(); t.Failed() {
			t.Logf("failed first:\n  %s", strings.Join(failed, "\n  "))
			if keep := os.Getenv("TORCHBEARER_E2E_KEEP"); keep != "" {
				if err := os.CopyFS(filepath.Join(keep, fmt.Sprintf("%d-fault", r.seed)), os.DirFS(data)); err != nil {
					t.Error(err)
				}
			}
		}
		if err := f.fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestFaultAtEveryCall: whichever call on the data directory fails for a while, the agent stays or says why it does not
// start, works again soon, and all that it scraped comes or is counted.
func TestFaultAtEveryCall(t *testing.T) {
	cases := make(chan faultCase)
	var wait sync.WaitGroup
	for range 10 { // They wait most of the time.
		wait.Go(func() {
			for c := range cases {
				t.Run(c.String(), func(t *testing.T) { c.run(t) })
			}
		})
	}
	step := 4
	if duration(t, "TORCHBEARER_SOAK", 0) > 0 {
		step = 1
	}
	for _, again := range []bool{false, true} {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			// So many calls open the directory and send the first samples.
			opening := map[syscall.Errno]int{syscall.EIO: 100, syscall.ENOSPC: 50}[errno]
			for n := 1; n < 600; n += step {
				if n > opening {
					n += 60 * step
				}
				cases <- faultCase{again: again, Fault: faultfs.Fault{
					Errno: errno, From: n, For: 300*time.Millisecond + time.Duration(n*77%900)*time.Millisecond, Torn: n/step%2 == 0,
				}}
			}
		}
	}
	close(cases)
	wait.Wait()
}

func (c faultCase) run(t *testing.T) {
	t.Helper()
	f := startFaulted(t)
	if c.again {
		f.dest.Status(http.StatusServiceUnavailable)
		f.start()
		f.scraped(2)
		f.kill()
		f.dest.SetBehaviour(nil)
	}
	f.fs.Fail(c.Fault)
	if !f.starts() {
		// Nothing is wrong any more.
		f.fs.Heal()
		f.start()
	}
	f.endure(c)
	lost := f.recover()
	f.term()
	p := f.check(f.ledger)
	missing := p.refused / f.options.Series * (f.options.Series + reportSamples)
	if float64(missing) > lost {
		t.Errorf("%d samples are missing and %v are counted", missing, lost)
	} else if float64(missing) < lost {
		t.Logf("%d samples are missing and %v are counted", missing, lost)
	}
}

// starts runs the agent, and says whether it has become ready. If not, it has said why.
func (f *faulted) starts() bool {
	f.t.Helper()
	f.agent = runAgent(f.t, f.dir, f.config(), f.flags...)
	ctx, cancel := context.WithTimeout(f.t.Context(), 60*time.Second)
	defer cancel()
	err := f.Until(ctx, func() error { return process.Answers(ctx, f.url+"/-/ready") })
	if err == nil {
		return true
	}
	code, endErr := f.Wait(10 * time.Second)
	if endErr != nil {
		f.t.Fatalf("it is not ready and has not ended: %v", errors.Join(err, endErr))
	}
	if output := f.Output(); code <= 0 || !strings.Contains(output, f.data) || strings.Contains(output, "goroutine ") {
		f.t.Errorf("it ended with %d and does not name the directory:\n%s", code, output)
	}
	f.agent = nil
	return false
}

// endure waits for the end of the fault, and wants the agent alive all the time.
func (f *faulted) endure(c faultCase) {
	f.t.Helper()
	f.until(f.t, 120*time.Second, "the call comes that fails", func(context.Context) error {
		began, _ := f.fs.Began()
		if began.IsZero() {
			return fmt.Errorf("%d calls so far", f.fs.Calls())
		}
		if left := c.For - time.Since(began); left > 0 {
			return fmt.Errorf("calls fail for %s more", left)
		}
		return nil
	})
}

// recover waits until the agent works as before, and returns how many samples it counts as lost.
func (f *faulted) recover() (lost float64) {
	f.t.Helper()
	began, _ := f.fs.Began()
	before := f.answered()
	f.until(f.t, 30*time.Second, "scrapes come as before", func(context.Context) error {
		for address, n := range before {
			numbers := f.ledger.Numbers(receiver.Key(load.Metric, address, "0", ""))
			if len(numbers) == 0 || numbers[len(numbers)-1] <= float64(n) {
				return fmt.Errorf("target %s: %d scrapes had been answered, %d numbers have come", address, n, len(numbers))
			}
		}
		return nil
	})
	f.fragile = append(f.fragile, window{begin: began, end: time.Now()})
	f.scraped(2)
	return f.sum("torchbearer_wal_samples_lost_total", "") + f.sum(lostMetric, "")
}
