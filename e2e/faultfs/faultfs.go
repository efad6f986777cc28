// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package faultfs mounts a folder at another place by FUSE, so that calls of the programs that use it there can be made to
// fail: from the n-th call on, for a time. All else passes: hard links, locks and renames work as in the folder itself. It
// takes root and /dev/fuse.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Fault says which calls fail.
type Fault struct {
	// Errno is what they get. ENOSPC is for calls that change something; other errors also for those that open and read.
	Errno syscall.Errno
	// From is the number of the first call that fails, counting from 1 those that may fail.
	From int
	// For is how long calls fail then.
	For time.Duration
	// Torn makes the first write that would fail write half of it, as a disk does that becomes full.
	Torn bool
}

const busyTimeout = 20 * time.Second

// FS is a folder that is mounted. Its methods may be called from any goroutine.
type FS struct {
	fuse.RawFileSystem

	server *fuse.Server
	served sync.WaitGroup

	mu    sync.Mutex // guards all below
	fault Fault
	calls int
	began time.Time // zero while nothing has failed
	torn  bool
	what  []string          // failed
	names map[uint64]string // of nodes, to tell what failed
}

// Mount shows the folder backing at dir, without faults. The caller has to Close it.
func Mount(backing, dir string) (*FS, error) {
	root, err := fs.NewLoopbackRoot(backing)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	// Nothing is cached: what a test does to the folder beside the mount is seen at once.
	none := time.Duration(0)
	f := &FS{
		RawFileSystem: fs.NewNodeFS(root, &fs.Options{EntryTimeout: &none, AttrTimeout: &none, NegativeTimeout: &none}),
		names:         map[uint64]string{},
	}
	f.server, err = fuse.NewServer(f, dir, &fuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, DisableXAttrs: true, FsName: "faultfs", Name: "faultfs",
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,       // Else reads and writes would not come by here.
		Logger:               log.New(io.Discard, "", 0), // It tells that a killed program has not waited for an answer.
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	f.served.Go(f.server.Serve)
	if err := f.server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// Close unmounts the folder, which nobody may use any more. It gives the kernel some seconds to let go of what programs
// that have ended had open.
func (f *FS) Close() error {
	err := f.server.Unmount()
	for begin := time.Now(); errors.Is(err, syscall.EBUSY) && time.Since(begin) < busyTimeout; {
		time.Sleep(10 * time.Millisecond)
		err = f.server.Unmount()
	}
	if err == nil {
		f.served.Wait()
	}
	return err
}

// Fail puts a fault in place of the one before, and counts calls from 0 again.
func (f *FS) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.calls, f.began, f.torn, f.what = fault, 0, time.Time{}, false, nil
}

// Heal lets all calls pass and goes on counting.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault.From = 0
}

// Calls is how many calls that may fail there have been since Fail.
func (f *FS) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Began is when the first call failed, and what failed first; zero if none has.
func (f *FS) Began() (at time.Time, failed []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.began, append([]string(nil), f.what...)
}

// A kind of calls is whether they change something.
type kind bool

const (
	reads   kind = false
	changes kind = true
)

// fails counts a call and says what it gets; node is what it is about.
func (f *FS) fails(k kind, call string, node uint64, name string) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k == reads && f.fault.Errno == syscall.ENOSPC {
		return fuse.OK
	}
	f.calls++
	if f.fault.From == 0 || f.calls < f.fault.From {
		return fuse.OK
	}
	if f.began.IsZero() {
		f.began = time.Now()
	}
	if time.Since(f.began) > f.fault.For {
		return fuse.OK
	}
	const told = 30
	if len(f.what) < told {
		f.what = append(f.what, fmt.Sprintf("%d %s %s/%s", f.calls, call, f.names[node], name))
	}
	return fuse.Status(f.fault.Errno)
}

// tears says whether a write that fails writes half of it.
func (f *FS) tears() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	tears := f.fault.Torn && !f.torn
	f.torn = true
	return tears
}

func (f *FS) name(node *uint64, name string, status fuse.Status) fuse.Status {
	if status.Ok() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.names[*node] = name
	}
	return status
}
