// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"
	"unique"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

const (
	// Series of an old generation are forgotten when they are more than
	// manySeries, idle for longer than forgetAfter of the log's own time, and not
	// of the last segments. Fewer are not worth the risk.
	manySeries       = 1 << 16
	forgetAfter      = time.Hour
	forgetAfterCount = 2 // segments
)

// oldSeries are those of a generation that an earlier process wrote: what its
// checkpoints and segments say of them.
type oldSeries struct {
	generation uint64
	series     map[chunks.HeadSeriesRef]*oldOne
	loaded     int   // highest segment whose series are known; -1 is none
	now        int64 // of the record read last, in milliseconds
	segment    int   // of that record
	many       int
	packer     packed.Packer
}

type oldOne struct {
	logged.Series

	used    int64 // when, in milliseconds of the log; neverUsed
	segment int   // where it was used or logged last
}

const neverUsed = math.MinInt64

func newOldSeries(generation uint64) *oldSeries {
	return &oldSeries{generation: generation, series: map[chunks.HeadSeriesRef]*oldOne{}, loaded: -1, now: neverUsed, many: manySeries}
}

// load decodes the series up to the one after a segment: while several scrapes
// are committed at once a sample may come before the series that one of them
// has logged for all.
func (o *oldSeries) load(r *Reader, segment int, segments []int) error {
	if o.loaded < 0 {
		base, err := o.loadCheckpoints(r, segment)
		if err != nil {
			return err
		}
		o.loaded = base
	}
	i, _ := slices.BinarySearch(segments, o.loaded+1)
	for _, s := range segments[i:] {
		if err := o.scan(r, heldFile{o.generation, noCheckpoint, s}); err != nil {
			return err
		}
		o.loaded = s
		if s > segment {
			break
		}
	}
	return nil
}

// loadCheckpoints returns up to which segment the series are known then.
func (o *oldSeries) loadCheckpoints(r *Reader, segment int) (int, error) {
	checkpoints, err := r.files.checkpoints(o.generation)
	if err != nil || len(checkpoints) == 0 {
		return -1, err
	}
	// The newest one is of a later time, but may have a series whose record in a
	// segment is damaged.
	newest := checkpoints[len(checkpoints)-1]
	if err := o.loadCheckpoint(r, newest); err != nil {
		return -1, err
	}
	base, ok := newestBefore(checkpoints, segment)
	if !ok {
		return -1, nil
	}
	if base != newest {
		err = o.loadCheckpoint(r, base)
	}
	return base, err
}

func (o *oldSeries) loadCheckpoint(r *Reader, checkpoint int) error {
	segments, err := r.files.checkpointSegments(o.generation, checkpoint)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if err := o.scan(r, heldFile{o.generation, checkpoint, s}); err != nil {
			return err
		}
	}
	return nil
}

// scan decodes the series of a file that is complete.
func (o *oldSeries) scan(r *Reader, name heldFile) error {
	file, err := r.files.open(name)
	if lost, ok := lostReason(err); ok {
		r.damage.found(name, 0, lost, 1)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) && name.checkpoint == noCheckpoint {
		return nil // A checkpoint stands for it.
	}
	if err != nil {
		return err // What is listed next time is there.
	}
	segment := newSegmentReader(file, 0, r.unpack, r.damage.in(name))
	for {
		payload, ok := segment.next(true)
		switch {
		case ok:
			series, meta, ok := r.decoder.describe(payload)
			if !ok {
				r.damage.found(name, segment.begin, reasonUndecodable, 1)
			}
			o.add(name.segment, series, meta)
		case segment.err != nil && !r.impatient("reading the log", segment.err):
			return errors.Join(fmt.Errorf("read segment %s: %w", name, segment.err), file.Close())
		case segment.err != nil:
			segment.skipPage()
		default:
			return file.Close()
		}
	}
}

func (o *oldSeries) add(segment int, series []record.RefSeries, meta []record.RefMetadata) {
	for i := range series {
		s := &series[i]
		one := o.series[s.Ref]
		if one == nil {
			one = &oldOne{used: neverUsed}
			o.series[s.Ref] = one
		}
		if !one.Labels.Are(s.Labels) {
			one.Labels = o.packer.Pack(s.Labels)
		}
		one.segment = max(one.segment, segment)
	}
	for i := range meta {
		m := &meta[i]
		if one := o.series[m.Ref]; one != nil {
			one.Metadata = unique.Make(logged.Plausible(one.Labels.Get(model.MetricNameLabel),
				metadata.Metadata{Type: record.ToMetricType(m.Type), Unit: m.Unit, Help: m.Help}))
		}
	}
}

func (o *oldSeries) find(ref chunks.HeadSeriesRef) (logged.Series, bool) {
	one := o.series[ref]
	if one == nil {
		return logged.Series{}, false
	}
	return one.Series, true
}

// use notes which series a batch has samples of.
func (o *oldSeries) use(b *logged.Batch) {
	o.segment = b.End.Segment
	switch {
	case len(b.Samples) > 0:
		o.now = b.Samples[0].T
	case len(b.Histograms) > 0:
		o.now = b.Histograms[0].T
	case len(b.FloatHistograms) > 0:
		o.now = b.FloatHistograms[0].T
	}
	if len(o.series) <= o.many {
		return // nothing will be forgotten
	}
	for i := range b.Samples {
		o.mark(b.Samples[i].Ref)
	}
	for i := range b.Histograms {
		o.mark(b.Histograms[i].Ref)
	}
	for i := range b.FloatHistograms {
		o.mark(b.FloatHistograms[i].Ref)
	}
}

func (o *oldSeries) mark(ref chunks.HeadSeriesRef) {
	if one := o.series[ref]; one != nil {
		one.used, one.segment = o.now, o.segment
	}
}

// forget drops what is idle, once a segment has been read. Both the time and
// the segments count, since a clock may have jumped.
func (o *oldSeries) forget(segment int) {
	if len(o.series) <= o.many {
		return
	}
	for ref, one := range o.series {
		switch {
		case one.used == neverUsed:
			one.used = o.now
		case one.segment+forgetAfterCount <= segment && o.now-one.used > forgetAfter.Milliseconds():
			delete(o.series, ref)
		}
	}
}
