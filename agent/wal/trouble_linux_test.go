// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/agent/logged"
)

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small file system cannot be had: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	l, _ := open(t, dir, &follower{}, func(o *Options) {
		o.SegmentSize = pageSize
		o.TruncateFrequency = 300 * time.Millisecond
	})
	defer closeLog(t, l)
	l.Claim(logged.Position{}, nil) // Nothing may go.
	stop := running(t, l)
	defer stop()
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}

	committed := map[int64]bool{}
	at := int64(0)
	writeOne := func() error {
		at++
		err := write(t, l, at, 0, 300)
		committed[at] = err == nil
		return err
	}
	for writeOne() == nil {
	}
	// The longer it lasts the more is lost, and nothing else happens.
	lost := testutil.ToFloat64(l.metrics.samplesLost.WithLabelValues(reasonNoSpace))
	for begun := time.Now(); time.Since(begun) < 1200*time.Millisecond; time.Sleep(time.Millisecond) {
		if err := writeOne(); err == nil {
			lost -= 300
		} else if !errors.Is(err, errNotWritten) && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		lost += 300
	}
	equal(t, lost, testutil.ToFloat64(l.metrics.samplesLost.WithLabelValues(reasonNoSpace)))

	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	good := 0
	eventually(t, "normal again", func() bool {
		if writeOne() == nil {
			good++
		} else {
			good = 0
		}
		return good > 20
	})

	// All that was committed is there, once and in order for each series.
	times, newest := map[string]int{}, map[string]int64{}
	for _, s := range samples(t, l, logged.Position{}) {
		times[s]++
		name, text, _ := strings.Cut(s, "@")
		when, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if when <= newest[name] {
			t.Fatalf("%s comes after %d", s, newest[name])
		}
		newest[name] = when
	}
	for when, ok := range committed {
		for _, s := range wanted(when, when, 300) {
			if ok && times[s] == 0 {
				t.Fatalf("%s was committed and is lost", s)
			}
		}
	}
}
