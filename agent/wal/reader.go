// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

// files is what a reader sees of the hold. Lists are in ascending order and may
// be shared; those of something that is not held are empty. The methods may be
// called from several goroutines.
type files interface {
	// current is the generation that is written to. It never changes.
	current() uint64
	generations() ([]uint64, error)
	// segments lists those of the log itself. A segment is complete when a newer
	// one is listed.
	segments(generation uint64) ([]int, error)
	checkpoints(generation uint64) ([]int, error)
	checkpointSegments(generation uint64, checkpoint int) ([]int, error)
	// open opens for reading. Its error wraps fs.ErrNotExist when the file is no
	// longer held, and errForeign or errRemoved when it will never be a segment.
	open(f heldFile) (*os.File, error)
}

// lookup finds a series of the current generation.
type lookup func(ref chunks.HeadSeriesRef) (logged.Series, bool)

// unreadablePatience is how long a disk that gives an error is asked again
// before a page of it is given up.
const unreadablePatience = 5 * time.Second

// mostMissing segments are counted for a gap: a foreign file may have any number.
const mostMissing = 1000

// Reader reads the log record by record, through all generations in turn. It is
// for one goroutine.
type Reader struct {
	files  files
	table  lookup
	damage *damage

	at      logged.Position
	file    *os.File // nil between segments
	segment *segmentReader
	final   bool       // nothing will be added to the segment any more
	old     *oldSeries // of the generation of at; nil when that is current
	skims   bool       // knows no series

	unpack   *unpacker
	decoder  *decoder
	failing  time.Time // since when; zero when all is well
	patience time.Duration
}

// newReader returns a reader that begins at a position, or at what is held
// next after it.
func newReader(f files, table lookup, at logged.Position, d *damage) *Reader {
	return &Reader{
		files: f, table: table, damage: d, at: at,
		old:    newOldSeries(math.MaxUint64), // It knows nothing before it has read.
		unpack: &unpacker{}, decoder: newDecoder(), patience: unreadablePatience,
	}
}

// Next reads the next record that has anything to ship into b, whose slices are
// good until b is used again. It never waits: false is that there is none for
// now. Damage is left out, counted and logged.
func (r *Reader) Next(b *logged.Batch) bool {
	b.Reset()
	for {
		if r.segment == nil && !r.openNext() {
			return false
		}
		payload, ok := r.segment.next(r.final)
		r.at.Offset = r.segment.end
		switch {
		case ok:
			if r.read(payload, b) {
				return true
			}
		case r.segment.err != nil:
			if !r.impatient("reading the log", r.segment.err) {
				return false
			}
			r.failing = time.Time{}
			r.segment.skipPage()
		case r.final:
			r.leave()
		case r.completed():
			// Only now is what has been read to its end known to be complete.
			r.final = true
		default:
			r.failing = time.Time{}
			return false
		}
	}
}

// read makes a batch of a record, if it has any.
func (r *Reader) read(payload []byte, b *logged.Batch) bool {
	r.failing = time.Time{}
	if v := r.decoder.batch(payload, b); v.reason != "" {
		r.damage.found(r.name(), r.segment.begin, v.reason, v.count)
	}
	if b.Points()+len(b.Exemplars) == 0 {
		return false
	}
	b.Generation, b.Begin, b.End = r.at.Generation, r.at, r.at
	b.Begin.Offset = r.segment.begin
	if r.old != nil {
		r.old.use(b)
	}
	return true
}

// Position is behind everything that Next has read.
func (r *Reader) Position() logged.Position { return r.at }

// Series finds a series of the generation of the batch read last; none before.
func (r *Reader) Series(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	switch {
	case r.skims:
		return logged.Series{}, false
	case r.old != nil:
		return r.old.find(ref)
	}
	return r.table(ref)
}

// Close lets go of the file that is open. The reader is of no use any more.
func (r *Reader) Close() error {
	r.unpack.close()
	r.segment = nil
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

func (r *Reader) name() heldFile {
	return heldFile{r.at.Generation, noCheckpoint, r.at.Segment}
}

// completed says whether the segment being read has a successor.
func (r *Reader) completed() bool {
	segments, err := r.files.segments(r.at.Generation)
	if err != nil {
		r.impatient("listing the log", err)
		return false
	}
	return len(segments) > 0 && segments[len(segments)-1] > r.at.Segment
}

func (r *Reader) leave() {
	if err := r.file.Close(); err != nil {
		level.Warn(r.damage.logger).Log("msg", "closing a segment went wrong", "segment", r.name().String(), "err", err)
	}
	r.file, r.segment, r.final = nil, nil, false
	if r.old != nil {
		r.old.forget(r.at.Segment)
	}
	r.at.Segment++
	r.at.Offset = 0
}

// openNext opens the first segment that is held from the position on.
func (r *Reader) openNext() bool {
	generations, err := r.files.generations()
	if err != nil {
		r.impatient("listing the log", err)
		return false
	}
	from, _ := slices.BinarySearch(generations, r.at.Generation)
	for _, generation := range generations[from:] {
		segments, err := r.files.segments(generation)
		if err != nil {
			r.impatient("listing the log", err)
			return false
		}
		for _, next := range after(r.at, generation, segments) {
			if opened, foreign := r.open(next, segments); opened || !foreign {
				return opened
			}
		}
	}
	return false
}

// after returns the beginnings of segments, where at is that of its own.
func after(at logged.Position, generation uint64, segments []int) []logged.Position {
	var next []logged.Position
	for _, segment := range segments {
		begin := logged.Position{Generation: generation, Segment: segment}
		if begin.Generation == at.Generation && begin.Segment == at.Segment {
			begin = at
		}
		if !begin.Before(at) {
			next = append(next, begin)
		}
	}
	return next
}

// open opens the segment at a position. One that is foreign will never be
// opened.
func (r *Reader) open(at logged.Position, segments []int) (opened, foreign bool) {
	name := heldFile{at.Generation, noCheckpoint, at.Segment}
	file, err := r.files.open(name)
	if lost, ok := lostReason(err); ok {
		r.damage.found(name, 0, lost, 1)
		return false, true
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, false // released a moment ago: the next list will tell
	}
	if err == nil {
		err = r.describe(at, segments)
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}
	if err != nil {
		r.impatient("opening the log", err)
		return false, false
	}
	if gap := at.Segment - r.at.Segment; at.Generation == r.at.Generation && gap > 0 && segments[0] < r.at.Segment {
		r.damage.found(heldFile{at.Generation, noCheckpoint, r.at.Segment}, 0, reasonMissingSegment, min(gap, mostMissing))
	}
	r.at, r.file, r.final = at, file, at.Generation != r.files.current()
	r.segment = newSegmentReader(file, at.Offset, r.unpack, r.damage.in(name))
	r.failing = time.Time{}
	return true, false
}

// lostReason says why a segment will never be opened, if so.
func lostReason(err error) (reason string, ok bool) {
	switch {
	case errors.Is(err, errForeign):
		return reasonUnreadable, true
	case errors.Is(err, errRemoved):
		return reasonMissingSegment, true
	default:
		return "", false
	}
}

// describe makes the series known that a segment about to be read may have
// samples of.
func (r *Reader) describe(at logged.Position, segments []int) error {
	if at.Generation == r.files.current() || r.skims {
		r.old = nil
		return nil
	}
	if r.old == nil || r.old.generation != at.Generation {
		r.old = newOldSeries(at.Generation)
	}
	return r.old.load(r, at.Segment, segments)
}

// impatient notes that something went wrong and says whether it has done so for
// so long that there is no use in trying again.
func (r *Reader) impatient(what string, err error) bool {
	if r.failing.IsZero() {
		r.failing = time.Now()
		level.Warn(r.damage.logger).Log("msg", what+" went wrong; trying again", "position", r.at.String(), "err", err)
	}
	return time.Since(r.failing) >= r.patience
}

// newestBefore returns the highest of a list that is under a limit.
func newestBefore(list []int, limit int) (int, bool) {
	i, _ := slices.BinarySearch(list, limit)
	if i == 0 {
		return 0, false
	}
	return list[i-1], true
}
