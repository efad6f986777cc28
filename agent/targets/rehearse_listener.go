// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"log/slog"
)

// listener hears why a discovery sends nothing: the library only logs that.
type listener struct{ of rehearsedConfig }

var _ slog.Handler = listener{}

// Enabled implements slog.Handler.
func (listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (l listener) Handle(_ context.Context, line slog.Record) error {
	line.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			l.of.rehearsal.mu.Lock()
			defer l.of.rehearsal.mu.Unlock()
			l.of.sought.trouble = a.Value.String()
		}
		return true
	})
	return nil
}

// WithAttrs implements slog.Handler.
func (l listener) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l listener) WithGroup(string) slog.Handler { return l }
