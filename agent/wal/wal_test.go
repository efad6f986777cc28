// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The library leaves a checkpoint open that the disk had no space for.
	ignored := goleak.IgnoreTopFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run")
	goleak.VerifyTestMain(patient{m, ignored}, ignored)
}

// patient gives goroutines that are ending more time than goleak does.
type patient struct {
	*testing.M

	ignored goleak.Option
}

func (p patient) Run() int {
	code := p.M.Run()
	for deadline := time.Now().Add(20 * time.Second); code == 0 && time.Now().Before(deadline) && goleak.Find(p.ignored) != nil; {
		time.Sleep(100 * time.Millisecond)
	}
	return code
}

func appendSamples(t *testing.T, app storage.AppenderV2, timestamps ...int64) {
	t.Helper()
	for _, ts := range timestamps {
		if _, err := app.Append(0, labels.FromStrings("__name__", "up"), 0, ts, 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommitIsOnDiskAndTheFollowerKnows(t *testing.T) {
	dir, f := t.TempDir(), &follower{}
	l, _ := open(t, dir, f)
	app := l.AppenderV2(t.Context())
	appendSamples(t, app, -5, 7, 9)
	if f.samples != 0 {
		t.Errorf("the follower knows of %d samples before the commit", f.samples)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if f.samples != 3 || f.newest != 9 {
		t.Errorf("the follower was told of %d samples up to %d, want 3 up to 9", f.samples, f.newest)
	}
	if got := samplesOnDisk(t, dir); got != 3 {
		t.Errorf("%d samples on disk before Close, want 3", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRollbackTellsNobody(t *testing.T) {
	f := &follower{}
	l, _ := open(t, t.TempDir(), f)
	app := l.AppenderV2(t.Context())
	appendSamples(t, app, 1)
	if err := app.Rollback(); err != nil {
		t.Fatal(err)
	}
	if f.samples != 0 {
		t.Errorf("the follower was told of %d samples", f.samples)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOldTimestampsAreCountedFromTheFirst(t *testing.T) {
	f := &follower{newest: math.MaxInt64}
	l, _ := open(t, t.TempDir(), f)
	app := l.AppenderV2(t.Context())
	appendSamples(t, app, -9)
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if f.newest != -9 {
		t.Errorf("newest is %d, want -9", f.newest)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// failing is an appender whose commit fails as a full disk makes it.
type failing struct {
	storage.AppenderV2

	err error
}

func (f failing) Commit() error { return errors.Join(f.err, f.Rollback()) }

func TestFailedCommitsAreCountedByReason(t *testing.T) {
	f := &follower{}
	l, reg := open(t, t.TempDir(), f)
	for _, err := range []error{&os.PathError{Op: "write", Err: syscall.ENOSPC}, errors.New("broken")} {
		app := l.AppenderV2(t.Context()).(*appender)
		app.AppenderV2 = failing{app.AppenderV2, err}
		appendSamples(t, app, 1, 2)
		if got := app.Commit(); !errors.Is(got, err) {
			t.Errorf("Commit returned %v, want %v", got, err)
		}
		// Meanwhile nothing is tried.
		app = l.AppenderV2(t.Context()).(*appender)
		appendSamples(t, app, 3)
		if got := app.Commit(); !errors.Is(got, errNotWritten) {
			t.Errorf("Commit returned %v, want %v", got, errNotWritten)
		}
		if app = l.AppenderV2(t.Context()).(*appender); app.Rollback() != nil {
			t.Error("Rollback failed")
		}
		l.recovered()
	}
	want := `# HELP torchbearer_wal_samples_lost_total Scraped samples that could not be written to the log, by reason.
# TYPE torchbearer_wal_samples_lost_total counter
torchbearer_wal_samples_lost_total{reason="no_space"} 3
torchbearer_wal_samples_lost_total{reason="write_error"} 3
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "torchbearer_wal_samples_lost_total"); err != nil {
		t.Error(err)
	}
	if f.samples != 0 {
		t.Errorf("the follower was told of %d samples that are not in the log", f.samples)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrorsNameTheDirectoryAndTheRemedy(t *testing.T) {
	refuse := func(dir, want string) {
		t.Helper()
		l, _ := unopened(t, dir, &follower{})
		err := l.Open()
		if err == nil {
			t.Fatalf("%s was opened; closed with %v", dir, l.Close())
		}
		for _, part := range []string{dir, want, "--storage.agent.path"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q has more than one line", err)
		}
	}

	locked := t.TempDir()
	l, _ := open(t, locked, &follower{})
	refuse(locked, "locked by another agent")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(filepath.Join(file, "data"), "not a directory")

	foreign := t.TempDir()
	if err := os.Mkdir(filepath.Join(foreign, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	refuse(foreign, "lock is not a file; move it away")
}

// samplesOnDisk reads the log as a stranger would.
func samplesOnDisk(t *testing.T, dir string) int {
	t.Helper()
	segments, err := wlog.NewSegmentsReader(filepath.Join(dir, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	defer segments.Close()
	dec := record.NewDecoder(labels.NewSymbolTable(), promslog.NewNopLogger())
	n := 0
	for r := wlog.NewReader(segments); r.Next(); {
		if k := dec.Type(r.Record()); k == record.Samples || k == record.SamplesV2 {
			samples, err := dec.Samples(r.Record(), nil)
			if err != nil {
				t.Fatal(err)
			}
			n += len(samples)
		}
	}
	return n
}
