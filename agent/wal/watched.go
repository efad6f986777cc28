// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// What tsdb/agent logs on its way.
const (
	// checkpointing is after it has chosen the segments to remove and before it
	// removes them.
	checkpointing = "Creating checkpoint"
	// truncating is before it takes its lock for a truncation, truncated while it
	// has it.
	truncating = "series GC started"
	truncated  = "series GC completed"
)

// closing lets tsdb/agent be closed: its Close takes the lock and then waits for
// the goroutine that truncates, for ever if that is about to take it, too.
type closing struct {
	mu    sync.Mutex
	ended chan struct{} // of the truncation that is beginning; nil when there is none
	begun bool
}

// truncating is called by the goroutine that truncates, and ends it once the log
// is being closed.
func (c *closing) truncating() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		runtime.Goexit()
	}
	c.ended = make(chan struct{})
}

func (c *closing) truncated() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
}

// begin waits until tsdb/agent may be closed.
func (c *closing) begin() {
	c.mu.Lock()
	c.begun = true
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// watching is a log handler that makes tsdb/agent wait there until all of its
// files are held, however long that takes. Of other lines it takes the
// opportunity to look at the files.
type watching struct {
	slog.Handler

	look    func()
	wait    func()
	closing *closing
}

func watched(l *slog.Logger, c *closing, look, wait func()) *slog.Logger {
	return slog.New(watching{l.Handler(), look, wait, c})
}

// Enabled implements slog.Handler.
func (w watching) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (w watching) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case checkpointing:
		w.wait()
	case truncating:
		w.closing.truncating()
	case truncated:
		w.closing.truncated()
	}
	if r.Message != checkpointing {
		w.look()
	}
	if !w.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return w.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (w watching) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watching{w.Handler.WithAttrs(attrs), w.look, w.wait, w.closing}
}

// WithGroup implements slog.Handler.
func (w watching) WithGroup(name string) slog.Handler {
	return watching{w.Handler.WithGroup(name), w.look, w.wait, w.closing}
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
