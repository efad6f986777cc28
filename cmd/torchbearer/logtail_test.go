// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/go-kit/log/level"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// texts are the lines of the tail as level and text.
func texts(t *tail) []string {
	var all []string
	for _, line := range t.Lines() {
		all = append(all, line.Level+" "+line.Text)
	}
	return all
}

func TestTailHearsWarningsAndErrorsOfBothTongues(t *testing.T) {
	for _, tc := range []struct {
		level string
		lines int // written
	}{{"debug", 8}, {"info", 6}, {"warn", 4}, {"error", 2}} {
		var buf bytes.Buffer
		l, err := newLogging(&buf, tc.level, "json")
		if err != nil {
			t.Fatal(err)
		}
		library := l.slog.With("component", "scraper")
		for _, log := range []func() error{
			func() error { return level.Debug(l.logger).Log("msg", "d") },
			func() error { return level.Info(l.logger).Log("msg", "i") },
			func() error { return level.Warn(l.logger).Log("msg", "w", "n", 1) },
			func() error { return level.Error(l.logger).Log("msg", "e", "err", errors.New("two\nlines")) },
			func() error { library.Debug("D"); return nil },
			func() error { library.Info("I"); return nil },
			func() error { library.Warn("W"); return nil },
			func() error { library.Error("E", "err", "gone"); return nil },
		} {
			if err := log(); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(buf.String(), "\n"); n != tc.lines {
			t.Errorf("level %s: %d lines in the log, want %d:\n%s", tc.level, n, tc.lines, &buf)
		}
		got := texts(l.tail)
		for i, line := range got {
			if before, after, found := strings.Cut(line, "caller="); found { // Its line number changes with this file.
				_, rest, _ := strings.Cut(after, " ")
				got[i] = before + rest
			}
		}
		want := []string{
			"error msg=E component=scraper err=gone", "warn msg=W component=scraper",
			`error msg=e err="two\nlines"`, "warn msg=w n=1",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("level %s (-want +got):\n%s", tc.level, diff)
		}
		for name, want := range map[string]float64{"warn": 2, "error": 2} {
			if n := testutil.ToFloat64(l.tail.lines.WithLabelValues(name)); n != want {
				t.Errorf("level %s: %s counted %v times, want %v", tc.level, name, n, want)
			}
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	l, err := newLogging(&bytes.Buffer{}, "info", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	if lines := l.tail.Lines(); lines == nil || len(lines) != 0 {
		t.Errorf("before the first line: %#v, want an empty list", lines)
	}
	for i := range 3*tailLines + 7 {
		_ = level.Warn(l.logger).Log("n", i)
	}
	got := texts(l.tail)
	if len(got) != tailLines || got[0] != "warn n=606" || got[tailLines-1] != "warn n=407" {
		t.Errorf("%d lines from %s to %s, want %d from n=606 to n=407", len(got), got[0], got[len(got)-1], tailLines)
	}

	_ = level.Error(l.logger).Log("msg", strings.Repeat("ü", 1<<20))
	line := l.tail.Lines()[0].Text
	if len(line) > tailBytes+len(cutMark) || !strings.HasSuffix(line, "ü"+cutMark) || !utf8.ValidString(line) {
		t.Errorf("a long line is kept with %d bytes, its end is %q", len(line), line[len(line)-20:])
	}
}

func TestTailHidesSecrets(t *testing.T) {
	l, err := newLogging(&bytes.Buffer{}, "error", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	url := "https://user:hunter2@central/write?token=hunter2"
	_ = level.Warn(l.logger).Log("msg", "get "+url, "err", fmt.Errorf("refused: %s", url), "list", []string{url})
	l.slog.With("list", []string{url}).Error(url, slog.Group("remote", "url", url)) //nolint:sloglint // A library may put anything there.
	lines := texts(l.tail)
	for _, line := range lines {
		if strings.Contains(line, "hunter2") || !strings.Contains(line, "https://user:<secret>@") {
			t.Errorf("kept %q", line)
		}
	}
	if len(lines) != 2 {
		t.Errorf("got %d lines, want 2", len(lines))
	}
	for pad := tailBytes - 150; pad < tailBytes; pad++ { // Wherever the line is cut.
		l.slog.Error("cut", "pad", strings.Repeat("x", pad), "list", []string{url})
		if line := l.tail.Lines()[0].Text; strings.Contains(line, "hu") {
			t.Fatalf("kept %q", line[tailBytes-200:])
		}
	}
}

func TestTailIsForManyGoroutines(t *testing.T) {
	l, err := newLogging(&bytes.Buffer{}, "error", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 500
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				_ = level.Warn(l.logger).Log("msg", "ours")
				l.slog.Warn("theirs")
				if n := len(l.tail.Lines()); n == 0 || n > tailLines {
					t.Errorf("%d lines", n)
				}
			}
		})
	}
	group.Wait()
	if n := testutil.ToFloat64(l.tail.lines.WithLabelValues("warn")); n != 2*writers*each {
		t.Errorf("%v warnings counted, want %d", n, 2*writers*each)
	}
}

func TestTailCostsOtherLinesNothing(t *testing.T) {
	l, err := newLogging(&bytes.Buffer{}, "info", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	l.tail.next = discard{}
	keyvals := []any{"time", "now", "level", level.InfoValue(), "msg", "quiet"}
	if n := testing.AllocsPerRun(100, func() { _ = l.tail.Log(keyvals...) }); n != 0 {
		t.Errorf("%v allocations a line, want none", n)
	}
}

type discard struct{}

func (discard) Log(...any) error { return nil }
