// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"math"
	"os"
	"sync"
	"time"

	"torchbearer/agent/logged"
)

const (
	// forecastMemory is how long ago what was logged still counts for the rate.
	forecastMemory = 5 * time.Minute
	// forecastAfter is how long the log is watched before the rate is believed.
	forecastAfter = 20 * time.Second
)

// forecast says how long the disk budget lasts if nothing that is claimed is let
// go. It is for concurrent use.
type forecast struct {
	every time.Duration // between checkpoints

	mu             sync.Mutex // guards the fields below
	at             time.Time  // of the last look
	logged         int64      // until then
	bytes, seconds float64    // of what was watched, the longer ago the less
	left           int64      // bytes
	checkpoint     int64      // bytes of the newest
}

// note takes a look: how much was logged since the start, how much more may be,
// and how large the newest checkpoint is.
func (f *forecast) note(now time.Time, logged, left, checkpoint int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if took := now.Sub(f.at).Seconds(); !f.at.IsZero() && took >= 0 {
		fades := math.Exp(-took / forecastMemory.Seconds())
		f.bytes = f.bytes*fades + float64(logged-f.logged)
		f.seconds = f.seconds*fades + took
	}
	f.at, f.logged, f.left, f.checkpoint = now, logged, left, checkpoint
}

func (f *forecast) lasts() (left time.Duration, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seconds < forecastAfter.Seconds() || f.bytes <= 0 {
		return 0, false
	}
	seconds := float64(max(f.left, 0)) / f.grows()
	const longest = float64(math.MaxInt64) / float64(time.Second) / 2
	return time.Duration(min(seconds, longest) * float64(time.Second)), true
}

// grows is by how many bytes a second what is held grows: what is logged, and the
// checkpoints that thin keeps of it. The caller holds mu.
func (f *forecast) grows() float64 {
	rate, size := f.bytes/f.seconds, float64(f.checkpoint)
	between := rate * f.every.Seconds()
	return rate + size/math.Ceil(max(checkpointWorth*size/between, 1))/f.every.Seconds()
}

// Budget is how long the disk budget lasts at the present rate if nothing of what
// is claimed is let go; it is not known in the first seconds, nor while nothing
// is logged.
func (l *Log) Budget() (left time.Duration, known bool) { return l.forecast.lasts() }

// foresee takes a look for the forecast. size is that of the data directory.
func (l *Log) foresee(size int64) {
	total, needless := l.hold.written(l.lowest())
	l.forecast.note(l.opts.Now(), total, l.limit()-(size-needless), l.hold.newestCheckpoint())
}

// limit is the size of the data directory over which the oldest goes. A segment
// is written while space for it is being found, which the budget allows for; the
// next checkpoint must fit, too, before tsdb/agent removes the last one.
func (l *Log) limit() int64 {
	return l.opts.MaxBytes - min(l.hold.nextCheckpoint(), l.opts.MaxBytes/largestReserve)
}

// written is how many bytes were logged since the start, and how many of them
// nobody needs who reads from lowest on.
func (h *hold) written(lowest logged.Position) (total, needless int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.writing()
	total = h.rolledBytes + g.newestSize()
	for _, s := range g.segments {
		if !s.stripped && lowest.Generation == g.number && s.index < lowest.Segment {
			needless += s.size
		}
	}
	return total, needless
}

// size is how many bytes of samples are held from a position on.
func (h *hold) size(from logged.Position) (size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, g := range h.held {
		for j, s := range g.segments {
			begin := logged.Position{Generation: g.number, Segment: s.index}
			if s.stripped || g.number < from.Generation || g.number == from.Generation && s.index < from.Segment {
				continue
			}
			all := s.size
			if i == len(h.held)-1 && j == len(g.segments)-1 {
				all = g.newestSize()
			}
			if begin.Before(from) {
				all = max(all-from.Offset, 0)
			}
			size += all
		}
	}
	return size
}

// newestSize is the size of the segment that is written to. The caller holds mu.
func (g *generation) newestSize() int64 {
	if len(g.segments) == 0 {
		return 0
	}
	info, err := os.Stat(g.segment(g.segments[len(g.segments)-1]))
	if err != nil {
		return 0
	}
	return info.Size()
}
