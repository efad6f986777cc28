// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestUsage: what a shell has worked and written by itself and by its children.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	p := shell(t, `(i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done); dd if=/dev/zero of="`+dir+`/zero" bs=65536 count=1 status=none; echo done; exec sleep 1000`)
	if err := p.Until(t.Context(), func() error {
		if p.Tail(1) != "done" {
			return errors.New("it still works")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if cpu, err := p.CPU(); err != nil || cpu < 20*time.Millisecond || cpu > time.Minute {
		t.Errorf("it took %s, %v", cpu, err)
	}
	resident, anonymous, err := p.Footprint()
	if err != nil || anonymous <= 0 || resident <= anonymous || resident > 1<<30 {
		t.Errorf("it has %d bytes, %d of them anonymous, %v", resident, anonymous, err)
	}
	now, err := p.Memory()
	peak, err2 := p.PeakMemory()
	if err = errors.Join(err, err2); err != nil || now <= 0 || peak < now {
		t.Errorf("it has %d bytes and had %d, %v", now, peak, err)
	}
	if slept, err := p.Slept(); err != nil || slept < 1 || slept > 1000 {
		t.Errorf("it went to sleep %d times, %v", slept, err)
	}
	disk, err := OnDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if written, err := p.Written(); err != nil || (written >= 65536) != disk {
		t.Errorf("it wrote %d bytes, %v; to a disk: %t", written, err, disk)
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err == nil && strings.Contains(string(mounts), " /dev/shm tmpfs ") {
		if disk, err := OnDisk("/dev/shm"); err != nil || disk {
			t.Errorf("shared memory is a disk: %t, %v", disk, err)
		}
	}
	p.Close()
	if _, err := p.CPU(); err == nil {
		t.Error("a program that has ended has taken something")
	}
	if _, err := p.Slept(); err == nil {
		t.Error("a program that has ended sleeps")
	}
	if _, _, err := p.Footprint(); err == nil {
		t.Error("a program that has ended has memory")
	}
}
