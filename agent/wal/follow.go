// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const checkpointPrefix = "checkpoint."

// episode is a time in which something goes wrong again and again: its
// beginning and its end are logged. It is for one goroutine at a time.
type episode struct{ failing bool }

func (e *episode) report(logger log.Logger, what string, err error) {
	switch {
	case err != nil && !e.failing:
		level.Error(logger).Log("msg", what+" went wrong; it is tried again", "err", err)
	case err == nil && e.failing:
		level.Info(logger).Log("msg", what+" works again")
	}
	e.failing = err != nil
}

// More than what a point takes in the log, but for one of a new series with very
// many labels, in bytes.
const (
	sampleBytes    = 128
	histogramBytes = 2048
)

// committed notices when commits have begun a segment, so that space is found
// for it at once. It costs a system call, but not for each commit: the segment
// grows by a few hundredths meanwhile.
func (h *hold) committed(samples, histograms int) {
	if h.unseen.Add(int64(samples)*sampleBytes+int64(histograms)*histogramBytes) < int64(h.segmentSize)/16 {
		return
	}
	h.unseen.Store(0)
	next := h.next.Load()
	if next == nil {
		return
	}
	if _, err := os.Lstat(*next); err == nil {
		h.roll()
	}
}

func (h *hold) roll() {
	select {
	case h.rolled <- struct{}{}:
	default:
	}
}

// follow links what is new in the log. An error is counted and logged already.
func (h *hold) follow() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.linkNew()
	if err != nil {
		h.metrics.linksFailed.Inc()
	}
	h.linking.report(h.logger, "holding the files of the log", err)
	return err
}

// linkNew is follow. The caller holds mu.
func (h *hold) linkNew() error {
	if h.closed {
		return nil
	}
	g := h.writing()
	entries, err := os.ReadDir(h.log)
	if err != nil {
		return fmt.Errorf("look for new files of the log: %w", err)
	}
	segments, checkpoints := numbered(entries)
	newest := g.newest()
	if len(segments) > 0 {
		h.first = segments[0]
	}
	for _, index := range segments {
		if index <= newest {
			continue
		}
		if newest >= 0 && index > newest+1 {
			level.Error(h.logger).Log("msg", "segments were removed before they could be held; what was not sent of them is lost",
				"first", newest+1, "last", index-1)
		}
		if err := h.holdSegment(g, index); err != nil {
			return err
		}
		newest = index
	}
	if len(checkpoints) == 0 {
		return nil
	}
	// Only the newest is sure not to be removed meanwhile.
	index := checkpoints[len(checkpoints)-1]
	if n := len(g.checkpoints); n > 0 && g.checkpoints[n-1].index >= index {
		return nil
	}
	return h.holdCheckpoint(g, index)
}

// linkNext links the next segment, if there is one already, for a reader that
// has come to the end of the newest. The caller holds mu.
func (h *hold) linkNext() {
	g := h.writing()
	next := g.newest() + 1
	if next == 0 || h.closed {
		return
	}
	if _, err := os.Lstat(segmentName(h.log, next)); err != nil {
		return
	}
	if err := h.holdSegment(g, next); err != nil {
		level.Debug(h.logger).Log("msg", "holding a segment went wrong; it is tried again", "err", err)
	}
}

// holdSegment links a segment that is newer than all that are held. The caller holds
// mu.
func (h *hold) holdSegment(g *generation, index int) error {
	from, to := segmentName(h.log, index), segmentName(g.dir, index)
	if err := h.link(from, to); err != nil && (!errors.Is(err, fs.ErrExist) || !isSame(from, to)) {
		return fmt.Errorf("hold a segment: %w", err)
	}
	now := h.now()
	if n := len(g.segments); n > 0 {
		before := &g.segments[n-1]
		before.written = now
		if info, err := os.Lstat(g.segment(*before)); err == nil && !before.stripped {
			before.size = info.Size()
			h.rolledBytes += info.Size()
		}
	}
	g.segments = append(g.segments, heldSegment{index: index, written: now})
	h.changed(g.dir)
	next := segmentName(h.log, index+1)
	h.next.Store(&next)
	h.roll()
	return nil
}

// holdCheckpoint links a checkpoint that is newer than all that are held,
// unless it goes meanwhile. The caller holds mu.
func (h *hold) holdCheckpoint(g *generation, index int) error {
	to := g.checkpoint(index)
	c, err := h.linkCheckpoint(checkpointName(h.log, index), to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(h.log)
	if err != nil {
		return errors.Join(fmt.Errorf("hold a checkpoint: %w", err), os.RemoveAll(to))
	}
	if _, all := numbered(entries); len(all) == 0 || all[len(all)-1] != index {
		// It may have been removed while it was linked.
		return os.RemoveAll(to)
	}
	c.index = index
	g.checkpoints = append(g.checkpoints, c)
	h.changed(g.dir)
	h.changed(to)
	h.roll()
	return nil
}

// linkCheckpoint links a folder's segments into a new folder.
func (h *hold) linkCheckpoint(from, to string) (c heldCheckpoint, err error) {
	part := to + partSuffix
	defer func() {
		if err != nil {
			err = fmt.Errorf("hold a checkpoint: %w", errors.Join(err, os.RemoveAll(part)))
		}
	}()
	if err := os.RemoveAll(part); err != nil {
		return c, err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return c, err
	}
	if err := os.Mkdir(part, 0o777); err != nil {
		return c, err
	}
	c.segments, _ = numbered(entries)
	for _, s := range c.segments {
		name := segmentName(part, s)
		if err := h.link(segmentName(from, s), name); err != nil {
			return c, err
		}
		if info, err := os.Lstat(name); err == nil {
			c.size += info.Size()
		}
	}
	return c, os.Rename(part, to)
}

// changed notes that a folder has new files. The caller holds mu.
func (h *hold) changed(dir string) {
	if !slices.Contains(h.unsynced, dir) {
		h.unsynced = append(h.unsynced, dir)
	}
}

// numbered picks the segments and checkpoints of a folder, in ascending order;
// all else is foreign.
func numbered(entries []fs.DirEntry) (segments, checkpoints []int) {
	for _, e := range entries {
		name := e.Name()
		if of, ok := strings.CutPrefix(name, checkpointPrefix); ok && e.IsDir() {
			if index, ok := parseIndex(of); ok {
				checkpoints = append(checkpoints, index)
			}
		} else if index, ok := parseIndex(name); ok && e.Type().IsRegular() {
			segments = append(segments, index)
		}
	}
	slices.Sort(segments)
	slices.Sort(checkpoints)
	return segments, checkpoints
}

// parseIndex reads a number as the library writes it.
func parseIndex(name string) (int, bool) {
	index, err := strconv.ParseUint(name, 10, 31)
	return int(index), err == nil && filepath.Base(segmentName("", int(index))) == name
}

func isNumber(name string) bool {
	_, ok := parseIndex(name)
	return ok
}
