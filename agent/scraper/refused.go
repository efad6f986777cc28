// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/logged"
)

// outOfBoundsLine is what the library logs after a scrape of which samples were
// answered with storage.ErrOutOfBounds.
const outOfBoundsLine = "Error on ingesting samples that are too old or are too far into the future"

// hushFor is for how long after a refusal the library does not log that line: it
// does so at the end of the scrape.
const hushFor = 10 * time.Second

// inWordsOfTheLibrary replaces a refusal by the log with an error that costs the
// scrape nothing else: the library goes on with the next sample, does not count
// the series as added, and does not remember it, which would take memory for
// what is not wanted. Of the errors with that effect this is the one that
// targets hardly ever cause themselves: by a timestamp far in the future.
func (g *guard) inWordsOfTheLibrary(err error) error {
	if !errors.Is(err, logged.ErrRefused) {
		return err
	}
	g.refused.Store(time.Now().UnixNano())
	return storage.ErrOutOfBounds
}

// hush returns a logger that leaves out what the library says, in misleading
// words, of refused series: the log tells of them itself.
func (g *guard) hush(library *slog.Logger) *slog.Logger {
	return slog.New(&hushed{Handler: library.Handler(), guard: g})
}

type hushed struct {
	slog.Handler

	guard *guard
}

var _ slog.Handler = (*hushed)(nil)

// Handle implements slog.Handler.
func (h *hushed) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == outOfBoundsLine && time.Since(time.Unix(0, h.guard.refused.Load())) < hushFor {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *hushed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &hushed{Handler: h.Handler.WithAttrs(attrs), guard: h.guard}
}

// WithGroup implements slog.Handler.
func (h *hushed) WithGroup(name string) slog.Handler {
	return &hushed{Handler: h.Handler.WithGroup(name), guard: h.guard}
}
