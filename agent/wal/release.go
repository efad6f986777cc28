// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"torchbearer/agent/logged"
)

// checkpointWorth is how many times the size of a checkpoint must lie before it
// in segments for it to be kept once it is not the newest. It bounds what both
// cost: the checkpoints, and stripped segments in place of them.
const checkpointWorth = 8

// release frees what is not needed to read from lowest on. Reading that takes
// the newest checkpoint under the segment of lowest, which stands for all series
// before it, and all later segments; those before lowest may have only series
// left. It says whether anything was freed.
func (h *hold) release(lowest logged.Position) (freed bool) {
	freed, err := h.releaseAll(lowest)
	if err != nil {
		h.metrics.freeFailed.Inc()
	}
	h.freeing.report(h.logger, "freeing what of the log is not needed any more", err)
	return freed
}

func (h *hold) releaseAll(lowest logged.Position) (freed bool, err error) {
	h.mu.Lock()
	held := slices.Clone(h.held)
	h.mu.Unlock()
	for i, g := range held {
		last := i == len(held)-1
		from, until := 0, 0
		switch {
		case g.number > lowest.Generation:
		case g.number == lowest.Generation:
			from = lowest.Segment
		case !last:
			from = -1 // all goes
		}
		if last {
			until = h.lowestLogged()
		}
		some, failed := h.releaseOf(g, h.needless(g, from, until, last))
		freed, err = freed || some, errors.Join(err, failed)
		if from < 0 && failed == nil {
			h.dropGeneration(g)
			freed = true
		}
	}
	return freed, err
}

// lowestLogged is the lowest segment that tsdb/agent still has.
func (h *hold) lowestLogged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first
}

// needless is what of a generation can be freed.
type needless struct {
	checkpoints []int
	segments    []heldSegment // to remove
	stripped    []heldSegment // to strip
}

// needless finds what of a generation is needless to read from a segment on, or
// at all when from is negative. Of the generation that is written to, what
// tsdb/agent still has would take its space all the same.
func (h *hold) needless(g *generation, from, logged int, writing bool) (n needless) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < 0 {
		for _, c := range g.checkpoints {
			n.checkpoints = append(n.checkpoints, c.index)
		}
		n.segments = slices.Clone(g.segments)
		return n
	}
	base := -1
	for _, c := range g.checkpoints {
		if c.index < from {
			base = c.index
		}
	}
	n.checkpoints = g.thin(base)
	for _, s := range g.segments {
		switch {
		case s.index >= from || writing && s.index >= logged:
		case s.index <= base:
			n.segments = append(n.segments, s)
		case !s.stripped:
			n.stripped = append(n.stripped, s)
		}
	}
	return n
}

// thin finds the checkpoints that are not worth their space. The caller holds
// mu.
func (g *generation) thin(base int) (needless []int) {
	after := base
	for i := range g.checkpoints {
		c := &g.checkpoints[i]
		switch {
		case c.index < base:
			needless = append(needless, c.index)
			continue
		case c.index == base || i == len(g.checkpoints)-1:
			continue
		case !c.kept:
			var size int64
			for _, s := range g.segments {
				if s.index > after && s.index <= c.index {
					size += s.size
				}
			}
			c.kept = size >= checkpointWorth*c.size
		}
		if !c.kept {
			needless = append(needless, c.index)
			continue
		}
		after = c.index
	}
	return needless
}

func (h *hold) releaseOf(g *generation, n needless) (freed bool, err error) {
	if len(n.checkpoints)+len(n.segments)+len(n.stripped) == 0 {
		return false, nil
	}
	// What stays must be there after a power cut if what goes is not.
	if err := h.syncFolders(); err != nil {
		return false, err
	}
	for _, s := range n.segments {
		failed := h.removeSegment(g, s)
		freed, err = freed || failed == nil, errors.Join(err, failed)
	}
	for _, s := range n.stripped {
		failed := h.strip(g, s)
		freed, err = freed || failed == nil, errors.Join(err, failed)
	}
	for _, index := range n.checkpoints {
		failed := h.removeCheckpoint(g, index)
		freed, err = freed || failed == nil, errors.Join(err, failed)
	}
	return freed, err
}

// update changes the lists under mu.
func (h *hold) update(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// removeSegment takes a segment out of the list first: a reader that finds it
// there must find the file.
func (h *hold) removeSegment(g *generation, s heldSegment) error {
	h.update(func() {
		g.segments = slices.DeleteFunc(g.segments, func(o heldSegment) bool { return o.index == s.index })
	})
	err := remove(g.segment(s))
	if err != nil {
		h.update(func() {
			i, _ := slices.BinarySearchFunc(g.segments, s.index, byIndex)
			g.segments = slices.Insert(g.segments, i, s)
		})
	}
	return err
}

// removeCheckpoint does the same with a checkpoint.
func (h *hold) removeCheckpoint(g *generation, index int) error {
	var gone heldCheckpoint
	h.update(func() {
		if i, ok := slices.BinarySearchFunc(g.checkpoints, index, byCheckpoint); ok {
			gone = g.checkpoints[i]
			g.checkpoints = slices.Delete(g.checkpoints, i, i+1)
		}
	})
	if err := os.RemoveAll(g.checkpoint(index)); err != nil {
		h.update(func() {
			i, _ := slices.BinarySearchFunc(g.checkpoints, index, byCheckpoint)
			g.checkpoints = slices.Insert(g.checkpoints, i, gone)
		})
		return fmt.Errorf("free space: %w", err)
	}
	return nil
}

// strip leaves only the series of a segment. Both names together mean that it
// was not done; one of them is there at any time.
func (h *hold) strip(g *generation, s heldSegment) error {
	whole := g.segment(s)
	s.stripped = true
	name := g.segment(s)
	if err := remove(name); err != nil {
		return err
	}
	if err := h.link(whole, name); err != nil {
		return fmt.Errorf("strip segment: %w", err)
	}
	if err := stripSegment(name); err != nil {
		return errors.Join(err, remove(name))
	}
	info, err := os.Lstat(name)
	if err != nil {
		return fmt.Errorf("strip segment: %w", err)
	}
	s.size = info.Size()
	h.list(g, s)
	if err := remove(whole); err != nil {
		s.stripped = false
		h.list(g, s)
		return errors.Join(err, remove(name))
	}
	return nil
}

// list changes what is known of a segment.
func (h *hold) list(g *generation, s heldSegment) {
	h.update(func() {
		if i, ok := slices.BinarySearchFunc(g.segments, s.index, byIndex); ok {
			g.segments[i] = s
		}
	})
}

// dropGeneration forgets one that has nothing left. Its folder stays if someone
// else put something into it.
func (h *hold) dropGeneration(g *generation) {
	_ = os.Remove(g.dir) // Tried again at the next start.
	h.update(func() {
		h.held = slices.DeleteFunc(h.held, func(o *generation) bool { return o == g })
	})
}
