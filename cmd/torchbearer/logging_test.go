// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

func TestBothTonguesGoIntoOneLog(t *testing.T) {
	for _, format := range []string{"logfmt", "json"} {
		var buf bytes.Buffer
		l, err := newLogging(&buf, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		_ = level.Info(l.logger).Log("msg", "ours", "n", 1)
		l.slog.With("component", "scraper").Warn("theirs", "err", errors.New("broken"))
		_ = level.Debug(l.logger).Log("msg", "quiet")
		l.slog.Debug("quiet")
		lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("%s: got %q, want two lines", format, lines)
		}
		if format == "json" {
			for _, line := range lines {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["time"] == nil || fields["level"] == nil || fields["msg"] == nil {
					t.Errorf("line %q: %v", line, err)
				}
			}
			continue
		}
		for i, want := range []string{"level=info msg=ours n=1", "component=scraper err=broken"} {
			if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], "time=") {
				t.Errorf("line %q does not have %q", lines[i], want)
			}
		}

		buf.Reset()
		if err := l.setLevel("debug"); err != nil {
			t.Fatal(err)
		}
		_ = level.Debug(l.logger).Log("msg", "heard")
		l.slog.Debug("heard")
		if strings.Count(buf.String(), "heard") != 2 {
			t.Errorf("after the level changed: %q", buf.String())
		}
	}
}

func TestUnknownLevelIsRefused(t *testing.T) {
	if _, err := newLogging(&bytes.Buffer{}, "loud", "logfmt"); err == nil {
		t.Errorf("got %v", err)
	}
}

func TestPasswordsInURLsAreScrubbed(t *testing.T) {
	u, err := url.Parse("https://user:hunter2@central/write")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{"text": u.String(), "stringer": u, "error": errors.New("get " + u.String() + ": refused")} {
		var buf bytes.Buffer
		shared := []any{"value", value}
		if err := log.With(&scrubber{next: log.NewLogfmtLogger(&buf)}, shared...).Log(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(buf.String(), "hunter2") || !strings.Contains(buf.String(), "user:<secret>@central") {
			t.Errorf("%s: logged %q", name, buf.String())
		}
		if shared[1] != value {
			t.Errorf("%s: the caller's value was changed", name)
		}
	}
}

// A nil in an interface says nothing, and does no harm.
func TestANilIsLogged(t *testing.T) {
	var buf bytes.Buffer
	if err := (&scrubber{next: log.NewLogfmtLogger(&buf)}).Log("url", (*url.URL)(nil), "err", (*url.Error)(nil), "msg", "well"); err != nil {
		t.Fatal(err)
	}
	if got := buf.String(); got != "url=null err=null msg=well\n" {
		t.Errorf("logged %q", got)
	}
}
