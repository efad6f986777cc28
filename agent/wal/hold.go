// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"torchbearer/agent/logged"
)

const (
	holdFolder = "hold"
	logFolder  = "wal"

	// strippedSuffix ends the name of a segment that has only series any more.
	strippedSuffix = ".series"
	// partSuffix ends the name of what is being put together.
	partSuffix = ".part"
)

// hold is hard links of the files of the log, in a folder for each generation:
// tsdb/agent may remove what it likes. Its methods may be called concurrently;
// those that free files are for one goroutine.
type hold struct {
	dir     string // of the generations
	log     string // where tsdb/agent writes
	logger  log.Logger
	metrics *metrics
	now     func() time.Time
	link    func(from, to string) error // os.Link, but in tests

	// rolled has one element when there is a segment that the space of may have
	// to be found for.
	rolled      chan struct{}
	next        atomic.Pointer[string] // path of the segment that tsdb/agent will begin
	unseen      atomic.Int64           // bytes, at most, since it was looked for
	segmentSize int

	mu   sync.Mutex
	held []*generation // in the order of their numbers; the last is written to
	// first is the lowest segment that tsdb/agent has, of the generation written
	// to.
	first    int
	unsynced []string // folders with new files
	linking  episode  // of failures
	closed   bool     // the log may be another process's
	// rolledBytes are of the segments that are complete, of the generation written
	// to.
	rolledBytes int64

	freeing episode  // for the goroutine that frees
	synced  struct { // for the goroutine that syncs
		segment int
		size    int64
	}
}

// generation is what is held of one start of the agent.
type generation struct {
	number      uint64
	dir         string
	segments    []heldSegment    // in ascending order
	checkpoints []heldCheckpoint // the same
}

type heldSegment struct {
	index    int
	size     int64 // once it is complete
	stripped bool
	written  time.Time // last; of the newest that is written to, at least
}

type heldCheckpoint struct {
	index    int
	segments []int
	size     int64
	kept     bool // also when it is not the newest any more
}

func byIndex(s heldSegment, index int) int         { return cmp.Compare(s.index, index) }
func byCheckpoint(c heldCheckpoint, index int) int { return cmp.Compare(c.index, index) }
func byNumber(g *generation, number uint64) int    { return cmp.Compare(g.number, number) }
func segmentName(dir string, index int) string     { return filepath.Join(dir, fmt.Sprintf("%08d", index)) }

func checkpointName(dir string, index int) string {
	return filepath.Join(dir, fmt.Sprintf("checkpoint.%08d", index))
}

func generationName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d", number))
}
func (g *generation) checkpoint(index int) string { return checkpointName(g.dir, index) }
func (g *generation) segment(s heldSegment) string {
	if s.stripped {
		return segmentName(g.dir, s.index) + strippedSuffix
	}
	return segmentName(g.dir, s.index)
}

// newest is the segment with the highest number, -1 when there is none.
func (g *generation) newest() int {
	if len(g.segments) == 0 {
		return -1
	}
	return g.segments[len(g.segments)-1].index
}

// find returns the generation with a number, or nil. The caller holds mu.
func (h *hold) find(number uint64) *generation {
	if i, ok := slices.BinarySearchFunc(h.held, number, byNumber); ok {
		return h.held[i]
	}
	return nil
}

// writing is the generation that is written to. The caller holds mu, or is Open.
func (h *hold) writing() *generation { return h.held[len(h.held)-1] }

// begin is the first position that has more than series.
func (h *hold) begin() logged.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.held {
		for _, s := range g.segments {
			if !s.stripped {
				return logged.Position{Generation: g.number, Segment: s.index}
			}
		}
	}
	return logged.Position{Generation: h.writing().number}
}

// end is a position behind everything that is written.
func (h *hold) end() logged.Position {
	_ = h.follow() // Errors are counted and logged.
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.writing()
	if g.newest() < 0 {
		return logged.Position{Generation: g.number}
	}
	s := g.segments[len(g.segments)-1]
	end := logged.Position{Generation: g.number, Segment: s.index}
	if info, err := os.Stat(g.segment(s)); err == nil {
		end.Offset = info.Size()
	}
	return end
}

// view is how readers see the hold.
type view struct{ *hold }

var _ files = view{}

func (v view) current() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.writing().number
}

func (v view) generations() ([]uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	numbers := make([]uint64, len(v.held))
	for i, g := range v.held {
		numbers[i] = g.number
	}
	return numbers, nil
}

func (v view) segments(number uint64) ([]int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	g := v.find(number)
	if g == nil {
		return nil, nil
	}
	if g == v.writing() {
		v.linkNext()
	}
	list := make([]int, len(g.segments))
	for i, s := range g.segments {
		list[i] = s.index
	}
	return list, nil
}

func (v view) checkpoints(number uint64) ([]int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	g := v.find(number)
	if g == nil {
		return nil, nil
	}
	list := make([]int, len(g.checkpoints))
	for i, c := range g.checkpoints {
		list[i] = c.index
	}
	return list, nil
}

func (v view) checkpointSegments(number uint64, checkpoint int) ([]int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if g := v.find(number); g != nil {
		if i, ok := slices.BinarySearchFunc(g.checkpoints, checkpoint, byCheckpoint); ok {
			return g.checkpoints[i].segments, nil
		}
	}
	return nil, nil
}

func (v view) open(f heldFile) (*os.File, error) {
	for former := ""; ; {
		path, ok := v.path(f)
		if !ok {
			return nil, fmt.Errorf("open segment %s: %w", f, fs.ErrNotExist)
		}
		file, err := openSegment(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		// It may have been stripped or freed meanwhile.
		if path == former {
			return nil, fmt.Errorf("open segment %s: %w", f, errRemoved)
		}
		former = path
	}
}

func (v view) path(f heldFile) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	g := v.find(f.generation)
	if g == nil {
		return "", false
	}
	if f.checkpoint != noCheckpoint {
		_, ok := slices.BinarySearchFunc(g.checkpoints, f.checkpoint, byCheckpoint)
		return segmentName(g.checkpoint(f.checkpoint), f.segment), ok
	}
	i, ok := slices.BinarySearchFunc(g.segments, f.segment, byIndex)
	if !ok {
		return "", false
	}
	return g.segment(g.segments[i]), true
}

// isSame says whether two paths are the same file.
func isSame(a, b string) bool {
	x, err := os.Lstat(a)
	if err != nil {
		return false
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y)
}

// remove removes a file that may be gone already.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free space: %w", err)
	}
	return nil
}
