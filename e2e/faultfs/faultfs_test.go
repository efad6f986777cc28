// SPDX-License-Identifier: Apache-2.0

//go:build linux

package faultfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mount returns the file system, the folder where it is mounted and the one behind it.
func mount(t *testing.T) (f *FS, dir, backing string) {
	t.Helper()
	dir, backing = t.TempDir(), t.TempDir()
	f, err := Mount(backing, dir)
	if err != nil {
		t.Skipf("no file system in user space here: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, dir, backing
}

func TestPasses(t *testing.T) {
	_, dir, backing := mount(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "folder", "b")
	if err := errors.Join(os.WriteFile(a, []byte("text"), 0o600), os.Mkdir(filepath.Dir(b), 0o700), os.Link(a, b)); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(b)
	if err != nil || !os.SameFile(first, second) {
		t.Errorf("a hard link is another file: %v", err)
	}
	if err := os.Rename(a, b+"2"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(backing, "folder", "b2")); err != nil || string(text) != "text" {
		t.Errorf("what is behind: %q, %v", text, err)
	}
}

// TestCloseWaitsForUse: the kernel lets go of what a program has had open when that is there no more, not before it ends.
func TestCloseWaitsForUse(t *testing.T) {
	f, dir, _ := mount(t)
	used, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	time.AfterFunc(500*time.Millisecond, func() { closed <- used.Close() })
	if err := errors.Join(f.Close(), <-closed); err != nil {
		t.Error(err)
	}
}

func TestLocks(t *testing.T) {
	_, dir, _ := mount(t)
	path := filepath.Join(dir, "lock")
	open := func() *os.File {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	first, second := open(), open()
	const how = syscall.LOCK_EX | syscall.LOCK_NB
	if err := syscall.Flock(int(first.Fd()), how); err != nil {
		t.Error(err)
	}
	if err := syscall.Flock(int(second.Fd()), how); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("the second lock: %v, want %v", err, syscall.EAGAIN)
	}
}

func TestFails(t *testing.T) {
	f, dir, _ := mount(t)
	write := func(name string) error { return os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600) }
	f.Fail(Fault{Errno: syscall.ENOSPC, From: 4, For: time.Minute})
	if err := errors.Join(write("a"), write("b")); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "write") {
		t.Errorf("the fourth call: %v, want %v of a write", err, syscall.ENOSPC)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "a")); err != nil {
		t.Errorf("reading from a full disk: %v", err)
	}
	if began, failed := f.Began(); began.IsZero() || len(failed) != 1 || !strings.Contains(failed[0], "write b") {
		t.Errorf("failed: %q at %s", failed, began)
	}
	f.Heal()
	if err := write("c"); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	f.Fail(Fault{Errno: syscall.EIO, From: 1, For: 50 * time.Millisecond})
	if _, err := os.ReadFile(filepath.Join(dir, "a")); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading: %v, want %v", err, syscall.EIO)
	}
	deadline := time.Now().Add(10 * time.Second)
	for write("d") != nil && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if err := write("d"); err != nil {
		t.Errorf("a fault does not end: %v", err)
	}
}

func TestTears(t *testing.T) {
	f, dir, _ := mount(t)
	file, err := os.Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f.Fail(Fault{Errno: syscall.ENOSPC, From: 1, For: time.Minute, Torn: true})
	if n, err := file.WriteString("text"); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v, want 2 and %v", n, err, syscall.ENOSPC)
	}
}
