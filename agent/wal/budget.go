// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"torchbearer/agent/logged"
)

// Why a part of the log goes before all have read it.
const (
	reasonBudget    = "budget"
	reasonRetention = "retention"
)

// largestReserve is the part of the budget, one of so many, that is reserved for
// a checkpoint at most.
const largestReserve = 4

// keep frees what nobody claims, and then the oldest of what is claimed, until
// all of the data directory fits into the budget and nothing is too old.
func (l *Log) keep() {
	now := l.opts.Now()
	if !l.claims.everMade() && now.Sub(l.began) < settle {
		return
	}
	for {
		to, ok := l.hold.expired(l.lowest(), now, l.opts.MaxAge)
		if !ok {
			break
		}
		l.giveUp(to, reasonRetention)
	}
	l.hold.release(l.lowest())
	for l.over() {
		if l.free() {
			continue
		}
		// Giving up what then stays on the disk would help nobody.
		if l.hold.freeing.failing {
			break
		}
		to, ok := l.hold.oldest(l.lowest(), l.opts.CheckpointFromInMemorySeries)
		if !ok {
			break
		}
		l.giveUp(to, reasonBudget)
	}
	l.hold.update(func() { l.metrics.generations.Set(float64(len(l.hold.held))) })
}

// lowest is where the first one who claims anything begins.
func (l *Log) lowest() logged.Position { return l.claims.lowest(l.hold.newest()) }

// over says whether the data directory is larger than it may be.
func (l *Log) over() bool {
	size, err := l.measure()
	l.measuring.report(l.opts.Logger, "measuring the data directory", err)
	if err != nil {
		return false
	}
	l.foresee(size)
	return size > l.limit()
}

// free frees a segment that nobody claims, if there is one.
func (l *Log) free() (freed bool) {
	lowest := l.lowest()
	if l.opts.CheckpointFromInMemorySeries {
		l.hold.unlog(lowest)
	}
	return l.hold.release(lowest)
}

func (l *Log) giveUp(to logged.Position, reason string) {
	level.Warn(l.opts.Logger).Log("msg", "the oldest of the log goes, sent or not", "reason", reason, "until", to.String())
	l.claims.giveUp(to, reason)
}

// measure adds up all regular files of the data directory, each once however
// many names it has.
func (l *Log) measure() (size int64, err error) {
	inLog := filepath.Join(l.opts.Dir, logFolder) + string(filepath.Separator)
	current := l.hold.folder()
	err = filepath.WalkDir(l.opts.Dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if of, ok := strings.CutPrefix(path, inLog); ok {
			if held, err := os.Lstat(filepath.Join(current, of)); err == nil && os.SameFile(info, held) {
				return nil
			}
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", l.opts.Dir, err)
	}
	l.metrics.diskBytes.Set(float64(size))
	return size, nil
}

// folder is that of the generation that is written to.
func (h *hold) folder() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writing().dir
}

// nextCheckpoint is about the size of the one that tsdb/agent will make next.
func (h *hold) nextCheckpoint() int64 { return h.newestCheckpoint() * 5 / 4 }

// newestCheckpoint is the size of the one that was made last, 0 before any was.
func (h *hold) newestCheckpoint() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range slices.Backward(h.held) {
		if n := len(g.checkpoints); n > 0 {
			return g.checkpoints[n-1].size
		}
	}
	return 0
}

// newest is the beginning of the segment that is written to.
func (h *hold) newest() logged.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.writing()
	return logged.Position{Generation: g.number, Segment: max(g.newest(), 0)}
}

// pastOldest walks the segments from the lowest claim on that have samples and
// returns the position behind the first of them, unless that one is not to go.
func (h *hold) pastOldest(lowest logged.Position, mayGo func(g *generation, s heldSegment) bool) (to logged.Position, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, g := range h.held {
		if g.number < lowest.Generation {
			continue
		}
		for j, s := range g.segments {
			if s.stripped || g.number == lowest.Generation && s.index < lowest.Segment {
				continue
			}
			switch {
			case !mayGo(g, s):
				return to, false
			case j+1 < len(g.segments):
				return logged.Position{Generation: g.number, Segment: g.segments[j+1].index}, true
			case i+1 < len(h.held):
				return logged.Position{Generation: h.held[i+1].number}, true
			default:
				return to, false // it is written to
			}
		}
	}
	return to, false
}

// expired is pastOldest for a segment that is too old.
func (h *hold) expired(lowest logged.Position, now time.Time, maxAge time.Duration) (to logged.Position, ok bool) {
	return h.pastOldest(lowest, func(_ *generation, s heldSegment) bool { return now.Sub(s.written) > maxAge })
}

// oldest is pastOldest for a segment whose going frees something.
func (h *hold) oldest(lowest logged.Position, unlogging bool) (to logged.Position, ok bool) {
	return h.pastOldest(lowest, func(g *generation, s heldSegment) bool {
		return g != h.writing() || s.index < h.first || unlogging && s.index+1 < g.newest()
	})
}

// unlog takes from tsdb/agent the oldest of its segments that nobody claims. It
// needs it no more when it writes checkpoints from memory, and removes it
// itself sooner or later. It leaves the two newest, which may be in use.
func (h *hold) unlog(lowest logged.Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.writing()
	if lowest.Generation < g.number || h.first >= lowest.Segment || h.first+1 >= g.newest() {
		return false
	}
	if err := remove(segmentName(h.log, h.first)); err != nil {
		level.Warn(h.logger).Log("msg", "removing a segment that is not needed any more went wrong", "err", err)
		return false
	}
	h.first++
	return true
}
