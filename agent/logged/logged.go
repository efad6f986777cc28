// SPDX-License-Identifier: Apache-2.0

// Package logged has the words in which the log is read: positions in it, and
// what one record of it holds; and those in which it is written to that the
// library has not. It has no behaviour of its own, so that the stage that keeps
// the log and those that read and write it need not know each other.
package logged

import (
	"cmp"
	"fmt"
	"unique"

	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/packed"
)

// Position is a place in the log between two records. The zero value is before
// everything.
type Position struct {
	// Generation counts the starts of agents on a data directory, from 1. A
	// series ref means something within its generation only.
	Generation uint64 `json:"generation"`
	Segment    int    `json:"segment"`
	Offset     int64  `json:"offset"` // bytes from the beginning of the segment
}

// Compare is negative when p is before q, positive when it is after it.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Generation, q.Generation), cmp.Compare(p.Segment, q.Segment), cmp.Compare(p.Offset, q.Offset))
}

// Before says whether p is before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// String is for people: generation, segment and offset.
func (p Position) String() string {
	return fmt.Sprintf("%d/%08d:%d", p.Generation, p.Segment, p.Offset)
}

// Series is what the log knows of a series.
type Series struct {
	Labels packed.Labels
	// Metadata is what was last scraped, as far as it is Plausible; a zero handle when there is none.
	Metadata unique.Handle[metadata.Metadata]
}

// Batch is what one record of the log holds of things to ship; only one of the
// slices has any. They belong to who made the batch and may be used again.
type Batch struct {
	Generation uint64
	Begin, End Position // before and after the record

	Samples         []record.RefSample
	Histograms      []record.RefHistogramSample
	FloatHistograms []record.RefFloatHistogramSample
	Exemplars       []record.RefExemplar
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Histograms)
	clear(b.FloatHistograms)
	clear(b.Exemplars)
	*b = Batch{
		Samples: b.Samples[:0], Histograms: b.Histograms[:0],
		FloatHistograms: b.FloatHistograms[:0], Exemplars: b.Exemplars[:0],
	}
}

// Points counts samples and histograms; exemplars go along with those.
func (b *Batch) Points() int {
	return len(b.Samples) + len(b.Histograms) + len(b.FloatHistograms)
}
