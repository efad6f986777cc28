// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPrepareDataGivesTheDirectoryAway(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65532, 65532 // Only root can give anything to others.
	}
	base := t.TempDir()
	dir, outside := filepath.Join(base, "node", "data"), filepath.Join(base, "outside")
	if err := os.MkdirAll(filepath.Join(dir, "wal"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "wal", "0"), outside} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := program("prepare-data", fmt.Sprintf("--owner=%d:%d", uid, gid), dir)
	if code != exitClean {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for path, want := range map[string]int{dir: uid, filepath.Join(dir, "wal"): uid, filepath.Join(dir, "wal", "0"): uid, outside: os.Getuid()} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); int(stat.Uid) != want {
			t.Errorf("%s belongs to %d, want %d", path, stat.Uid, want)
		}
		if path == dir && info.Mode().Perm() != 0o700 {
			t.Errorf("the mode of the directory is %s", info.Mode())
		}
	}
}

func TestPrepareDataRefuses(t *testing.T) {
	for _, owner := range []string{"root", "65532", "1:x", "-1:5", ""} {
		code, _, stderr := program("prepare-data", "--owner="+owner, t.TempDir())
		if code != exitUsage || !strings.Contains(stderr, "owner") {
			t.Errorf("owner %q: exit code %d, %s", owner, code, stderr)
		}
	}
}
