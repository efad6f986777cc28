// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/packed"
)

// This file is Torchbearer's: labels of known series stand in memory once, where
// the appender keeps them.

// labelKeeper is an appender that keeps the labels of series. It is given a
// sample of a series, whose labels it answered for with a ref, with that ref and
// without labels; where it needs those all the same it answers
// packed.ErrNeeded, and is asked again with them.
type labelKeeper interface {
	// LabelsOf are the labels of a ref that Append answered with, or none.
	LabelsOf(ref storage.SeriesRef) packed.Labels
}

// knownAppenderV2 is an appender that may be a labelKeeper. It is right before
// it, so that what limits samples counts one that it is asked for twice once.
type knownAppenderV2 struct {
	storage.AppenderV2

	keeper labelKeeper // nil if it is none
	entry  *cacheEntry // of the next sample
}

func newKnownAppenderV2(app storage.AppenderV2) *knownAppenderV2 {
	keeper, _ := app.(labelKeeper)
	return &knownAppenderV2{AppenderV2: app, keeper: keeper}
}

// labels are those to append the next sample with, which is of e.
func (a *knownAppenderV2) labels(e *cacheEntry) labels.Labels {
	a.entry = e
	if a.keeper != nil && e.has(markKept) {
		return labels.EmptyLabels()
	}
	return e.lset.Labels()
}

// Append implements storage.AppenderV2.
func (a *knownAppenderV2) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	got, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	if err == nil || a.keeper == nil || !ls.IsEmpty() || !errors.Is(err, packed.ErrNeeded) {
		return got, err
	}
	got, err = a.AppenderV2.Append(ref, a.entry.lset.Labels(), st, t, v, h, fh, opts)
	if got != 0 {
		a.entry.unmark(markKept) // It may be asked for them each time.
		a.keep(a.entry, got)
	}
	return got, err
}

// add puts a new series into the cache, with the labels that the appender keeps of
// its ref, if those are what it was given.
func (a *knownAppenderV2) add(c *scrapeCache, met []byte, ref storage.SeriesRef, lset labels.Labels) *cacheEntry {
	if a.keeper != nil {
		if kept := a.keeper.LabelsOf(ref); !kept.IsEmpty() && kept.Are(lset) {
			e := c.add(met, cacheEntry{ref: ref, lset: kept})
			e.mark(markKept)
			return e
		}
	}
	return c.addRef(met, ref, lset)
}

// keep has an entry share the labels that the appender keeps of its ref, if those
// are what it was given.
func (a *knownAppenderV2) keep(e *cacheEntry, ref storage.SeriesRef) {
	if a.keeper == nil || e.has(markKept) {
		return
	}
	if kept := a.keeper.LabelsOf(ref); !kept.IsEmpty() && packed.Equal(kept, e.lset) {
		e.lset = kept
		e.mark(markKept)
	}
}
