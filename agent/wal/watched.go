// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"log/slog"
)

// watching is a log handler that looks at the files whenever tsdb/agent logs
// anything. It does so after it has chosen the segments to remove and before it
// removes them ("Creating checkpoint"), so that none goes that is not held,
// however long the goroutine that looks for new ones was kept waiting.
type watching struct {
	slog.Handler

	look func() bool
}

func watched(l *slog.Logger, look func() bool) *slog.Logger {
	return slog.New(watching{l.Handler(), look})
}

// Enabled implements slog.Handler.
func (w watching) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (w watching) Handle(ctx context.Context, r slog.Record) error {
	w.look()
	if !w.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (w watching) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watching{w.Handler.WithAttrs(attrs), w.look}
}

// WithGroup implements slog.Handler.
func (w watching) WithGroup(name string) slog.Handler {
	return watching{w.Handler.WithGroup(name), w.look}
}
