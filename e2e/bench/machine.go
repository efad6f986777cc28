// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// machine is what a reader has to know of it.
type machine struct {
	cores     int
	goVersion string
}

func thisMachine() machine {
	return machine{cores: runtime.NumCPU(), goVersion: runtime.Version()}
}

// processors are those that the agents run on, which have one of their own, and those of all else. The zero value is that
// all share all.
type processors struct{ agents, rig unix.CPUSet }

func (p processors) apart() bool { return p.agents.Count() > 0 }

// separate moves this process away from the last processor that it may use, so that agents have it for themselves. It does
// nothing where there is only one.
func separate() (processors, error) {
	var p processors
	if err := unix.SchedGetaffinity(0, &p.rig); err != nil {
		return processors{}, fmt.Errorf("find out which processors there are: %w", err)
	}
	if p.rig.Count() < 2 {
		return processors{}, nil
	}
	for cpu := len(p.rig)*strconv.IntSize - 1; ; cpu-- {
		if p.rig.IsSet(cpu) {
			p.rig.Clear(cpu)
			p.agents.Set(cpu)
			break
		}
	}
	runtime.GOMAXPROCS(p.rig.Count())
	// A thread begins where the one runs that makes it. So once all were found where they belong, those to come are, too.
	for moved := true; moved; {
		moved = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return processors{}, err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return processors{}, err
			}
			var now unix.CPUSet
			if err = unix.SchedGetaffinity(id, &now); err == nil && now != p.rig {
				moved = true
				err = unix.SchedSetaffinity(id, &p.rig)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // It may have ended.
				return processors{}, fmt.Errorf("move a thread to other processors: %w", err)
			}
		}
	}
	return p, nil
}

// start calls a function that starts a process, which then runs on the agents' processor.
func (p processors) start(begin func() error) error {
	if !p.apart() {
		return begin()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &p.agents); err != nil {
		return fmt.Errorf("move to the agents' processor: %w", err)
	}
	err := begin()
	return errors.Join(err, unix.SchedSetaffinity(0, &p.rig))
}
