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

	"torchbearer/agent/disk"
)

// adopt takes the log that an earlier process left into the hold, so that a new
// one can be begun. It may be killed anywhere and done again.
func (l *Log) adopt() error {
	info, err := os.Lstat(l.hold.log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder; move it away", l.hold.log)
	}
	if err != nil {
		return err
	}
	if l.ours() {
		return l.adoptOurs()
	}
	if _, err := os.Lstat(filepath.Join(l.opts.Dir, serverFolder)); err == nil {
		return errors.New("this is the data directory of a Prometheus that is no agent; choose another --storage.agent.path")
	}
	if l.opts.ShipForeign {
		level.Info(l.opts.Logger).Log("msg", "what a Prometheus agent has left in the data directory is shipped")
		return l.adoptForeign()
	}
	level.Info(l.opts.Logger).Log("msg", "the log that a Prometheus agent has left in the data directory is removed: it does not tell what of it was sent",
		"dir", l.hold.log, "hint", "--storage.agent.ship-former-wal ships all of it")
	return l.removeLog()
}

// ours says whether the log is of an agent like this one.
func (l *Log) ours() bool {
	_, hold := os.Lstat(l.hold.dir)
	_, journals := os.Lstat(filepath.Join(l.opts.Dir, journalFolder))
	return hold == nil || journals == nil
}

func (l *Log) adoptOurs() error {
	if err := makeFolder(l.hold.dir); err != nil {
		return err
	}
	if err := l.probeLinks(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.hold.dir)
	if err != nil {
		return fmt.Errorf("look for what is held: %w", err)
	}
	numbers := generationNumbers(entries)
	if n := len(numbers); n > 0 {
		err := l.hold.linkMissing(generationName(l.hold.dir, numbers[n-1]))
		if err == nil {
			return l.removeLog()
		}
		if !errors.Is(err, errOther) {
			return err
		}
		level.Warn(l.opts.Logger).Log("msg", "the log has files that others have written; they are shipped too", "dir", l.hold.log)
	}
	next := l.lastGeneration() + 1
	if n := len(numbers); n > 0 {
		next = max(next, numbers[n-1]+1)
	}
	to := generationName(l.hold.dir, next)
	if err := errors.Join(os.RemoveAll(to+partSuffix), os.MkdirAll(to+partSuffix, 0o777)); err != nil {
		return fmt.Errorf("adopt the log: %w", err)
	}
	if err := l.hold.linkMissing(to + partSuffix); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(to+partSuffix, to), disk.SyncDir(l.hold.dir)); err != nil {
		return fmt.Errorf("adopt the log: %w", err)
	}
	return l.removeLog()
}

// adoptForeign makes a hold with only that. Until it has its name, the log is
// foreign.
func (l *Log) adoptForeign() error {
	part := l.hold.dir + partSuffix
	dir := generationName(part, 1)
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(dir, 0o777)); err != nil {
		return fmt.Errorf("adopt the log: %w", err)
	}
	if err := l.hold.linkMissing(dir); err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(part), os.Rename(part, l.hold.dir), disk.SyncDir(l.opts.Dir)); err != nil {
		return fmt.Errorf("adopt the log: %w", err)
	}
	return l.removeLog()
}

func (l *Log) removeLog() error {
	if err := os.RemoveAll(l.hold.log); err != nil {
		return fmt.Errorf("remove what is held twice: %w", err)
	}
	return disk.SyncDir(l.opts.Dir)
}

// errOther is for files of the same name that are not the same.
var errOther = errors.New("other files of the same names are held")

// linkMissing links what of the log is not in a folder of the hold yet, and
// brings that to the disk. Nothing is linked on errOther.
func (h *hold) linkMissing(dir string) error {
	entries, err := os.ReadDir(h.log)
	if err != nil {
		return fmt.Errorf("adopt the log: %w", err)
	}
	segments, checkpoints := numbered(entries)
	missing := map[int]relation{}
	for _, s := range segments {
		to := segmentName(dir, s)
		held, err := relate(segmentName(h.log, s), to)
		_, stripped := os.Lstat(to + strippedSuffix)
		switch {
		case err != nil:
			return err
		case held == another:
			return errOther
		case held != itself && (held != nothing || stripped != nil):
			missing[s] = held
		}
	}
	for s, held := range missing {
		if err := h.place(segmentName(h.log, s), segmentName(dir, s), held); err != nil {
			return fmt.Errorf("adopt the log: %w", err)
		}
	}
	for _, c := range checkpoints {
		to := checkpointName(dir, c)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if _, err := h.linkCheckpoint(checkpointName(h.log, c), to); err != nil {
			return err
		}
		if err := disk.SyncDir(to); err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// generationNumbers picks the generations of a folder, in ascending order; all
// else is foreign.
func generationNumbers(entries []fs.DirEntry) (numbers []uint64) {
	for _, e := range entries {
		if number, ok := parseIndex(e.Name()); ok && 0 < number && number <= maxGeneration && e.IsDir() {
			numbers = append(numbers, uint64(number))
		}
	}
	slices.Sort(numbers)
	return numbers
}

// scan finds what is held, cleans up what a killed process left half done, and
// returns the highest number of a generation.
func (h *hold) scan(now time.Time, maxAge time.Duration) (highest uint64, err error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return 0, fmt.Errorf("look for what is held: %w", err)
	}
	for _, e := range entries {
		if of, ok := strings.CutSuffix(e.Name(), partSuffix); !ok || !isNumber(of) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(h.dir, e.Name())); err != nil {
			return 0, fmt.Errorf("clean up %s: %w", h.dir, err)
		}
	}
	for _, number := range generationNumbers(entries) {
		g := &generation{number: number, dir: generationName(h.dir, number)}
		if err := g.scan(now, maxAge); err != nil {
			level.Warn(h.logger).Log("msg", "a part of what is held cannot be looked at; it is left out", "dir", g.dir, "err", err)
		}
		highest = number
		if len(g.segments)+len(g.checkpoints) > 0 {
			h.held = append(h.held, g)
		} else {
			_ = os.Remove(g.dir) // Empty, or not ours.
		}
	}
	return highest, nil
}

// isHalfDone says whether a file of a generation was being made when a process
// was killed.
func isHalfDone(name string) bool {
	if of, ok := strings.CutSuffix(name, partSuffix); ok {
		number, _ := strings.CutPrefix(of, checkpointPrefix)
		return isNumber(number)
	}
	of, ok := strings.CutSuffix(name, strippedSuffix+stripSuffix)
	return ok && isNumber(of)
}

func (g *generation) scan(now time.Time, maxAge time.Duration) error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isHalfDone(e.Name()) {
			if err := os.RemoveAll(filepath.Join(g.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	segments, checkpoints := numbered(entries)
	for _, e := range entries {
		// Who reads it will tell that it is lost. Of the last one nobody else would.
		if index, ok := parseIndex(e.Name()); ok && !e.IsDir() && !e.Type().IsRegular() {
			segments = append(segments, index)
		}
		of, ok := strings.CutSuffix(e.Name(), strippedSuffix)
		index, number := parseIndex(of)
		if !ok || !number || !e.Type().IsRegular() {
			continue
		}
		if slices.Contains(segments, index) { // it was not done
			if err := remove(filepath.Join(g.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		g.segments = append(g.segments, heldSegment{index: index, stripped: true, written: now})
	}
	for _, index := range segments {
		g.segments = append(g.segments, heldSegment{index: index})
	}
	slices.SortFunc(g.segments, func(a, b heldSegment) int { return byIndex(a, b.index) })
	for i := range g.segments {
		s := &g.segments[i]
		info, err := os.Lstat(g.segment(*s))
		if err != nil {
			return err
		}
		age := min(max(now.Sub(info.ModTime()), 0), maxAge-leastChance(maxAge))
		s.size, s.written = info.Size(), now.Add(-age)
	}
	return g.scanCheckpoints(checkpoints)
}

func (g *generation) scanCheckpoints(checkpoints []int) error {
	for _, index := range checkpoints {
		c := heldCheckpoint{index: index, kept: true}
		entries, err := os.ReadDir(g.checkpoint(index))
		if err != nil {
			return err
		}
		c.segments, _ = numbered(entries)
		for _, s := range c.segments {
			if info, err := os.Lstat(segmentName(g.checkpoint(index), s)); err == nil {
				c.size += info.Size()
			}
		}
		if len(c.segments) > 0 {
			g.checkpoints = append(g.checkpoints, c)
		}
	}
	return nil
}
