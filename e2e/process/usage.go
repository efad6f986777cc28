// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks is USER_HZ of Linux, in which /proc/<pid>/stat counts.
const clockTicks = 100

// CPU is the processor time that the child has taken so far, with that of its own children whose end it has seen.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold spaces; utime, stime, cutime and cstime are the 12th to 15th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", p.Pid(), len(fields))
	}
	all := 0
	for _, field := range fields[11:15] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read /proc/%d/stat: %w", p.Pid(), err)
		}
		all += ticks
	}
	return time.Duration(all) * time.Second / clockTicks, nil
}

// Footprint is the memory that the child has now, in bytes: all that is resident, and what of it is of no file.
func (p *Process) Footprint() (resident, anonymous int, err error) {
	found, err := p.fields("smaps_rollup", "Rss:", "Anonymous:")
	if err != nil {
		return 0, 0, err
	}
	return found[0], found[1], nil
}

// Written is how many bytes the child has made the system write to disks so far, in whole pages; see OnDisk.
func (p *Process) Written() (int, error) { return p.one("io", "write_bytes:") }

// PeakMemory is the largest resident size of the child so far, in bytes.
func (p *Process) PeakMemory() (int, error) { return p.one("status", "VmHWM:") }

// Memory is the resident size of the child, in bytes.
func (p *Process) Memory() (int, error) { return p.one("status", "VmRSS:") }

// Slept is how often threads of the child went to sleep, those that have ended not counted.
func (p *Process) Slept() (n int, err error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		one, err := p.one(filepath.Join("task", thread.Name(), "status"), "voluntary_ctxt_switches:")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // It has ended.
		}
		if err != nil {
			return 0, err
		}
		n += one
	}
	return n, nil
}

func (p *Process) one(file, name string) (int, error) {
	found, err := p.fields(file, name)
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

// fields reads numbers of a file of /proc/<pid> by their names; what is in kB becomes bytes.
func (p *Process) fields(file string, names ...string) ([]int, error) {
	path := fmt.Sprintf("/proc/%d/%s", p.Pid(), file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := make([]int, len(names))
	for i, name := range names {
		_, rest, ok := strings.Cut("\n"+string(text), "\n"+name)
		if !ok {
			return nil, fmt.Errorf("%s has no %s", path, name)
		}
		line, _, _ := strings.Cut(rest, "\n")
		number, kib := strings.CutSuffix(strings.TrimSpace(line), " kB")
		if found[i], err = strconv.Atoi(number); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if kib {
			found[i] <<= 10
		}
	}
	return found, nil
}

// OnDisk says whether what is written into a folder goes to a disk, not into memory.
func OnDisk(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, fmt.Errorf("find out what %s is on: %w", dir, err)
	}
	return fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC, nil
}
