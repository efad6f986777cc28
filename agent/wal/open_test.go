// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/agent/logged"
)

func TestEveryStartHoldsWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	var end logged.Position
	for at := int64(1); at <= 4; at++ {
		l, reg := open(t, dir, &follower{})
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`# HELP prometheus_agent_clean_start -1: lockfile is disabled. 0: a lockfile from a previous execution was replaced. 1: lockfile creation was clean
# TYPE prometheus_agent_clean_start gauge
prometheus_agent_clean_start 1
`), cleanStartMetric); err != nil {
			t.Error(err)
		}
		mustWrite(t, l, at, 0, 3)
		equal(t, wanted(1, at, 3), samples(t, l, logged.Position{}))
		if end = l.End(); end.Generation != uint64(at) {
			t.Errorf("the %d. start writes at %s", at, end)
		}
		if found := samples(t, l, end); len(found) > 0 {
			t.Errorf("%v behind the end", found)
		}
		closeLog(t, l)
		equal(t, wanted(1, at, 3), samples(t, l, logged.Position{}))
	}

	// A number is never used again, even if the hold is deleted; and what means
	// another data directory means all of this one.
	if err := os.RemoveAll(filepath.Join(dir, holdFolder)); err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	if now := l.End(); !end.Before(now) {
		t.Errorf("at %s after %s", now, end)
	}
	mustWrite(t, l, 5, 0, 3)
	equal(t, wanted(5, 5, 3), samples(t, l, logged.Position{Generation: 99}))
	if at := *l.Claim(logged.Position{Generation: 99}, nil).at.Load(); at != l.Begin() {
		t.Errorf("a claim from elsewhere begins at %s", at)
	}
}

func TestAdoptingMayFailAnywhere(t *testing.T) {
	for failAt := 1; ; failAt++ {
		dir := t.TempDir()
		l, _ := open(t, dir, &follower{}, busy)
		at := int64(0)
		eventually(t, "truncated", func() bool {
			at++
			mustWrite(t, l, at, 0, 100)
			l.hold.mu.Lock()
			defer l.hold.mu.Unlock()
			return at >= 30 && l.hold.first > 0
		})
		closeLog(t, l)
		// As a killed process leaves it: with files that are not held.
		inLog, err := filepath.Glob(filepath.Join(dir, logFolder, "0*"))
		if err != nil || len(inLog) < 2 {
			t.Fatal(inLog, err)
		}
		for _, path := range inLog {
			if err := os.Remove(filepath.Join(dir, holdFolder, "00000001", filepath.Base(path))); err != nil {
				t.Fatal(err)
			}
		}

		l, _ = unopened(t, dir, &follower{})
		links := 0
		l.hold.link = func(from, to string) error {
			if links++; links == failAt {
				return syscall.EIO
			}
			return os.Link(from, to)
		}
		failed := l.Open()
		if failed == nil {
			closeLog(t, l)
		} else if !errors.Is(failed, syscall.EIO) {
			t.Fatal(failed)
		}
		l, _ = open(t, dir, &follower{})
		equal(t, wanted(1, at, 100), samples(t, l, logged.Position{}))
		closeLog(t, l)
		if failed == nil && links < failAt {
			if failAt < 3 {
				t.Errorf("only %d links", links)
			}
			return
		}
	}
}

// listing is all names in a folder, of which a running log may remove some meanwhile.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		names = append(names, path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestASecondAgentChangesNothing(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir, &follower{})
	defer closeLog(t, first)
	mustWrite(t, first, 1, 0, 3)
	before := listing(t, dir)
	second, _ := unopened(t, dir, &follower{})
	if err := second.Open(); err == nil || !strings.Contains(err.Error(), "locked by another agent") {
		t.Errorf("the second agent got %v", err)
	}
	equal(t, before, listing(t, dir))
	mustWrite(t, first, 2, 0, 3)
	equal(t, wanted(1, 2, 3), samples(t, first, logged.Position{}))
}

func TestLinksThatAreImpossibleAreRefused(t *testing.T) {
	for _, errno := range []error{syscall.EXDEV, syscall.EPERM} {
		dir := t.TempDir()
		l, _ := unopened(t, dir, &follower{})
		l.hold.link = func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: errno} }
		err := l.Open()
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), "--storage.agent.path") {
			t.Errorf("%v: %v", errno, err)
		}
		l, _ = open(t, dir, &follower{}) // The lock was let go.
		closeLog(t, l)
	}
}

// foreignLog makes a data directory as a Prometheus agent leaves it.
func foreignLog(t *testing.T) string {
	t.Helper()
	return foreignLogAt(t, 1)
}

// foreignLogAt is the same with scrapes at these times.
func foreignLogAt(t *testing.T, times ...int64) string {
	t.Helper()
	dir := t.TempDir()
	l, _ := open(t, dir, &follower{})
	for _, at := range times {
		mustWrite(t, l, at, 0, 3)
	}
	closeLog(t, l)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, holdFolder)), os.Remove(filepath.Join(dir, generationFile))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestALogOfAPrometheusAgent(t *testing.T) {
	ship := func(o *Options) { o.ShipForeign = true }
	l, _ := open(t, foreignLog(t), &follower{})
	if found := samples(t, l, logged.Position{}); len(found) > 0 {
		t.Errorf("%v are shipped", found)
	}
	closeLog(t, l)

	dir := foreignLog(t)
	l, _ = open(t, dir, &follower{}, ship)
	equal(t, wanted(1, 1, 3), samples(t, l, logged.Position{}))
	closeLog(t, l)
	// Now it is ours, with or without the option.
	l, _ = open(t, dir, &follower{})
	equal(t, wanted(1, 1, 3), samples(t, l, logged.Position{}))
	closeLog(t, l)

	// One with journals beside it is ours.
	dir = foreignLog(t)
	if err := os.Mkdir(filepath.Join(dir, journalFolder), 0o777); err != nil {
		t.Fatal(err)
	}
	l, _ = open(t, dir, &follower{})
	equal(t, wanted(1, 1, 3), samples(t, l, logged.Position{}))
	closeLog(t, l)

	dir = foreignLog(t)
	if err := os.Mkdir(filepath.Join(dir, serverFolder), 0o777); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	l, _ = unopened(t, dir, &follower{}, ship)
	if err := l.Open(); err == nil || !strings.Contains(err.Error(), "no agent") {
		t.Errorf("the data of a server: %v", err)
	}
	equal(t, before, listing(t, dir))
}

func TestALogThatIsNotTheOneThatIsHeld(t *testing.T) {
	first := segmentName(filepath.Join(holdFolder, "00000001"), 0)
	for name, tc := range map[string]struct {
		log  []int64 // times of its scrapes
		odd  func(path string) error
		want []string
	}{
		"a copy": {log: []int64{1}, want: wanted(1, 1, 3)},
		"a copy of its beginning is held": {odd: func(path string) error {
			whole, err := os.ReadFile(segmentName(filepath.Join(filepath.Dir(path), "..", "..", logFolder), 0))
			return errors.Join(err, os.WriteFile(path, whole[:40], 0o666))
		}, want: wanted(1, 1, 3)},
		"another":                     {log: []int64{2}, want: append(wanted(1, 1, 3), wanted(2, 2, 3)...)},
		"a pipe is held in its place": {odd: func(path string) error { return syscall.Mkfifo(path, 0o600) }, want: wanted(1, 1, 3)},
		"a folder is held":            {odd: func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o777) }, want: wanted(1, 1, 3)},
		"nothing is held":             {odd: func(string) error { return nil }, want: wanted(1, 1, 3)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, _ := open(t, dir, &follower{})
			mustWrite(t, l, 1, 0, 3)
			closeLog(t, l)
			var err error
			if tc.odd != nil {
				held := filepath.Join(dir, first)
				err = errors.Join(os.Remove(held), tc.odd(held))
			} else {
				logOf := filepath.Join(dir, logFolder)
				err = errors.Join(os.RemoveAll(logOf), os.Rename(filepath.Join(foreignLogAt(t, tc.log...), logFolder), logOf))
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				l, _ = open(t, dir, &follower{})
				equal(t, tc.want, samples(t, l, logged.Position{}))
				closeLog(t, l)
			}
		})
	}
}

func TestAHoldThatIsNoFolderIsRefused(t *testing.T) {
	elsewhere := t.TempDir()
	for name, put := range map[string]func(path string) error{
		"file":    func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"symlink": func(path string) error { return os.Symlink(elsewhere, path) },
		"pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		for _, folder := range []string{holdFolder, logFolder} {
			dir := t.TempDir()
			path := filepath.Join(dir, folder)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			l, _ := unopened(t, dir, &follower{})
			if err := l.Open(); err == nil || !strings.Contains(err.Error(), path+" is not a folder") {
				t.Errorf("a %s as %s: %v", name, folder, err)
			}
		}
	}
}

func TestForeignThingsInTheHoldAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, &follower{})
	mustWrite(t, l, 1, 0, 3)
	closeLog(t, l)
	in := func(name string) string { return filepath.Join(dir, holdFolder, name) }
	foreign := []string{in("notes"), in("00000007"), in("99999999999999999999"), in("1073741825"), in("1"), in("00000001/00000005"), in("00000001/00000006"), in("00000001/00000007"), in("00000001/checkpoint.00000003"), in("00000001/x.part"), in("00000001/77")}
	if err := errors.Join(
		os.WriteFile(foreign[0], nil, 0o600), syscall.Mkfifo(foreign[1], 0o600), os.Mkdir(foreign[2], 0o777), os.Mkdir(foreign[3], 0o777), os.Mkdir(foreign[4], 0o777),
		syscall.Mkfifo(foreign[5], 0o600), os.Symlink("/etc/passwd", foreign[6]), os.Mkdir(foreign[7], 0o777), os.Symlink("/", foreign[8]),
		os.WriteFile(foreign[9], nil, 0o600), os.WriteFile(foreign[10], []byte("x"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	l, _ = open(t, dir, &follower{})
	equal(t, wanted(1, 1, 3), samples(t, l, logged.Position{}))
	l.Claim(l.End(), nil)
	l.keep() // All of the old generation goes.
	closeLog(t, l)
	for _, path := range foreign {
		// What stands where a segment should is taken for one, and goes as they do.
		_, err := os.Lstat(path)
		if gone := path == foreign[5] || path == foreign[6]; gone != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
