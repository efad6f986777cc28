// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	sloggokit "github.com/tjhop/slog-gokit"
	"k8s.io/klog/v2"

	"torchbearer/config"
)

// logging is one log, in two tongues: go-kit/log for our own code, slog onto
// the same for Prometheus's libraries.
type logging struct {
	logger log.Logger
	slog   *slog.Logger
	level  *slog.LevelVar
	tail   *tail
}

// newLogging writes lines of the format, logfmt or json, from the level on.
func newLogging(w io.Writer, levelName, format string) (*logging, error) {
	l := &logging{level: &slog.LevelVar{}}
	w = log.NewSyncWriter(w)
	base := log.NewLogfmtLogger(w)
	if format == "json" {
		base = log.NewJSONLogger(w)
	}
	l.tail = newTail(base, l.level)
	base = &scrubber{next: l.tail}
	if err := l.setLevel(levelName); err != nil {
		return nil, err
	}
	heard := atMostWarn{l.level}
	l.logger = &leveled{
		// The handler for slog adds the same key.
		next:  log.With(base, "time", log.TimestampFormat(time.Now, time.RFC3339Nano)),
		level: heard,
	}
	l.slog = slog.New(sloggokit.NewGoKitHandler(base, heard))
	return l, nil
}

// atMostWarn is a level from which on warnings are heard in any case: the tail
// drops those that the log is not to have.
type atMostWarn struct{ slog.Leveler }

// Level implements slog.Leveler.
func (l atMostWarn) Level() slog.Level { return min(l.Leveler.Level(), slog.LevelWarn) }

// setLevel applies to all loggers at once. Prometheus's names are known.
func (l *logging) setLevel(name string) error {
	var lv slog.Level
	if err := lv.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("unknown log level %q; use debug, info, warn or error", name)
	}
	l.level.Set(lv)
	return nil
}

// takeOverKlog sends the lines of client-go here.
func (l *logging) takeOverKlog() {
	klog.SetSlogLogger(l.slog.With("component", "k8s_client_runtime"))
}

// leveled drops lines below a level that may change; the filter of go-kit/log
// is for a level that does not.
type leveled struct {
	next  log.Logger
	level slog.Leveler
}

// Log implements log.Logger.
func (l *leveled) Log(keyvals ...any) error {
	if v := levelOf(keyvals); v != nil && slogLevel(v) < l.level.Level() {
		return nil
	}
	return l.next.Log(keyvals...)
}

func slogLevel(v level.Value) slog.Level {
	switch v {
	case level.DebugValue():
		return slog.LevelDebug
	case level.WarnValue():
		return slog.LevelWarn
	case level.ErrorValue():
		return slog.LevelError
	}
	return slog.LevelInfo
}

// said is what a value of a line will say, "" of one that says nothing. A nil that
// cannot say anything panics, and is left to the encoder, which knows of those.
func said(value any) (text string) {
	defer func() { _ = recover() }()
	switch v := value.(type) {
	case string:
		return v
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	default:
		return ""
	}
}

// scrubber hides passwords and tokens in URLs, as the last that sees a line: libraries log
// URLs as they stand.
type scrubber struct{ next log.Logger }

// Log implements log.Logger.
func (s *scrubber) Log(keyvals ...any) error {
	scrubbed := keyvals
	for i := 1; i < len(keyvals); i += 2 {
		text := said(keyvals[i])
		if !strings.Contains(text, "://") {
			continue
		}
		clean := config.HideSecrets(text)
		if clean == text {
			continue
		}
		if &scrubbed[0] == &keyvals[0] {
			scrubbed = slices.Clone(keyvals) // The slice may be shared with other lines.
		}
		scrubbed[i] = clean
	}
	return s.next.Log(scrubbed...)
}
