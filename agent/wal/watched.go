// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"log/slog"
	"time"
)

// checkpointing is what tsdb/agent logs after it has chosen the segments to
// remove and before it removes them.
const checkpointing = "Creating checkpoint"

// watching is a log handler that makes tsdb/agent wait there until all of its
// files are held, however long that takes. Of other lines it takes the
// opportunity to look at the files.
type watching struct {
	slog.Handler

	look func()
	wait func()
}

func watched(l *slog.Logger, look, wait func()) *slog.Logger {
	return slog.New(watching{l.Handler(), look, wait})
}

// Enabled implements slog.Handler.
func (w watching) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (w watching) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == checkpointing {
		w.wait()
	} else {
		w.look()
	}
	if !w.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (w watching) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watching{w.Handler.WithAttrs(attrs), w.look, w.wait}
}

// WithGroup implements slog.Handler.
func (w watching) WithGroup(name string) slog.Handler {
	return watching{w.Handler.WithGroup(name), w.look, w.wait}
}

// settleDown waits until all files are held and the log can be written to, or it
// is being closed. A checkpoint that fails for want of space would leave a file
// open for good.
func (l *Log) settleDown() {
	for {
		err := l.hold.follow()
		if err == nil && l.trouble.reason() == "" {
			return
		}
		select {
		case <-l.closing:
			return
		case <-time.After(retryEvery):
		}
	}
}
