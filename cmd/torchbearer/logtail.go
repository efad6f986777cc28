// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"torchbearer/agent/status"
	"torchbearer/config"
)

const (
	tailLines = 200     // kept of the log
	tailBytes = 4 << 10 // kept of a line
	cutMark   = " [cut]"
)

// tail keeps the last warnings and errors for people who cannot see the log, and
// then lets through what the level of the log asks for: it hears them also where
// the log does not. It stands behind the scrubber.
type tail struct {
	next  log.Logger
	level slog.Leveler
	lines *prometheus.CounterVec
	heard map[level.Value]prometheus.Counter

	mu   sync.Mutex
	ring [tailLines]status.LogLine
	n    int // lines ever kept
}

func newTail(next log.Logger, l slog.Leveler) *tail {
	t := &tail{next: next, level: l, lines: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "torchbearer_log_lines_total",
		Help: "Number of warnings and errors logged, also of those that the level of the log hides.",
	}, []string{"level"})}
	t.heard = map[level.Value]prometheus.Counter{}
	for _, v := range []level.Value{level.WarnValue(), level.ErrorValue()} {
		t.heard[v] = t.lines.WithLabelValues(v.String())
	}
	return t
}

// Log implements log.Logger.
func (t *tail) Log(keyvals ...any) error {
	v := levelOf(keyvals)
	if counter, ok := t.heard[v]; ok {
		counter.Inc()
		t.keep(status.LogLine{Time: time.Now().UTC(), Level: v.String(), Text: tailText(keyvals)})
		if slogLevel(v) < t.level.Level() {
			return nil
		}
	}
	return t.next.Log(keyvals...)
}

func (t *tail) keep(line status.LogLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.n%tailLines] = line
	t.n++
}

// Lines are those kept, the newest first.
func (t *tail) Lines() []status.LogLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := make([]status.LogLine, 0, min(t.n, tailLines))
	for i := range cap(lines) {
		lines = append(lines, t.ring[(t.n-1-i)%tailLines])
	}
	return lines
}

// levelOf is the level among the values of a line, or nil.
func levelOf(keyvals []any) level.Value {
	for i := 1; i < len(keyvals); i += 2 {
		if v, ok := keyvals[i].(level.Value); ok {
			return v
		}
	}
	return nil
}

// tailText is the line without its time and level. What the scrubber does not
// look into, such as a list, is scrubbed as text.
func tailText(keyvals []any) string {
	kept := make([]any, 0, len(keyvals))
	for i := 0; i+1 < len(keyvals); i += 2 {
		if _, isLevel := keyvals[i+1].(level.Value); !isLevel && keyvals[i] != "time" {
			kept = append(kept, keyvals[i], keyvals[i+1])
		}
	}
	var buf bytes.Buffer
	if err := log.NewLogfmtLogger(&buf).Log(kept...); err != nil {
		return "a line that cannot be shown: " + err.Error()
	}
	text := config.HideSecrets(strings.TrimRight(buf.String(), "\n"))
	if len(text) <= tailBytes {
		return text
	}
	return strings.ToValidUTF8(text[:tailBytes], "") + cutMark
}
