// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"cmp"
	"errors"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
)

// errNotWritten is what a commit says that was not tried.
var errNotWritten = errors.New("the log cannot be written to at the moment")

// appender counts what passes on its way to agent.DB, and notes its series.
type appender struct {
	storage.AppenderV2 // nil while the log cannot be written to

	log        *Log
	scribe     scribe
	guarded    bool          // new series may be refused
	refused    [refusals]int // samples, by why
	samples    int
	histograms int
	exemplars  int
	newest     int64
}

// LabelsOf are the labels of a ref that Append answered with, or none.
func (a *appender) LabelsOf(ref storage.SeriesRef) packed.Labels { return a.scribe.kept(ref) }

// Append implements storage.AppenderV2. A sample of a new series over a limit
// is answered with logged.ErrRefused; one without labels of a series that is not
// known any more with packed.ErrNeeded.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if a.scribe.active(ref) || a.AppenderV2 == nil || !a.guarded || passes(ref, v, h, fh, &opts) {
		return a.append(ref, ls, st, t, v, h, fh, opts)
	}
	if ls.IsEmpty() {
		return 0, packed.ErrNeeded
	}
	locked := a.log.admission.enter()
	if locked {
		defer a.log.admission.mu.Unlock()
	}
	if why := a.log.admission.admit(a.scribe.job, ls, locked); why != admitted {
		a.refused[why]++
		return 0, logged.ErrRefused
	}
	return a.append(ref, ls, st, t, v, h, fh, opts)
}

// passes says whether a sample is logged in any case: what the library says of
// a scrape, and the end of a series.
func passes(ref storage.SeriesRef, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts *storage.AOptions) bool {
	if strings.HasSuffix(opts.MetricFamilyName, logged.OfReport) {
		return true
	}
	switch {
	case ref == 0:
		return false // A target can expose the value of a staleness marker.
	case fh != nil:
		return value.IsStaleNaN(fh.Sum)
	case h != nil:
		return value.IsStaleNaN(h.Sum)
	default:
		return value.IsStaleNaN(v)
	}
}

func (a *appender) append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	got, err := ref, error(nil)
	var kept packed.Labels
	if ls.IsEmpty() && a.AppenderV2 != nil {
		// Before Append: the series may be forgotten after it.
		if kept = a.LabelsOf(ref); kept.IsEmpty() {
			return 0, packed.ErrNeeded
		}
	}
	if !a.log.opts.StartTimestamps && a.log.opts.dense() {
		st = 0 // Its record would keep it.
	}
	if a.AppenderV2 != nil {
		got, err = a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
		if err != nil && errors.Is(err, packed.ErrNeeded) {
			return 0, err
		}
		// A zero sample at the start timestamp may have been taken even if the
		// sample itself was not.
		if noted := cmp.Or(got, ref); noted != 0 {
			a.scribe.note(noted, ls, kept, &opts.Metadata)
		}
		if got == 0 {
			return 0, err
		}
	}
	// A ref comes with an error when the sample was taken and an exemplar was not.
	if a.samples+a.histograms == 0 {
		a.newest = math.MinInt64
	}
	if h != nil || fh != nil {
		a.histograms++
	} else {
		a.samples++
	}
	if err == nil {
		a.exemplars += len(opts.Exemplars)
	}
	a.newest = max(a.newest, t)
	return got, err
}

// Commit implements storage.AppenderTransaction.
func (a *appender) Commit() error {
	a.log.refused(a.scribe.job, &a.refused)
	points := a.samples + a.histograms
	if points > 0 {
		a.log.opts.Follower.Committing(points)
	}
	if a.AppenderV2 == nil {
		a.log.lose(points, cmp.Or(a.log.trouble.reason(), reasonOther))
		return errNotWritten
	}
	a.log.unfinished.begin(a)
	err := a.log.writers.do(a.AppenderV2.Commit)
	if err == nil {
		a.log.unfinished.end(a)
	}
	switch {
	case err != nil:
		a.log.commitFailed(points, err)
	case points > 0:
		a.log.hold.committed(a.samples, a.histograms)
		a.log.opts.Follower.Committed(a.samples, a.histograms, a.exemplars, a.newest)
	}
	return err
}

// Rollback implements storage.AppenderTransaction.
func (a *appender) Rollback() error {
	if a.AppenderV2 == nil {
		return nil
	}
	return a.log.writers.do(a.AppenderV2.Rollback)
}
