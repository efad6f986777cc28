// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"cmp"
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// errNotWritten is what a commit says that was not tried.
var errNotWritten = errors.New("the log cannot be written to at the moment")

// appender counts what passes on its way to agent.DB, and notes its series.
type appender struct {
	storage.AppenderV2 // nil while the log cannot be written to

	log        *Log
	scribe     scribe
	samples    int
	histograms int
	exemplars  int
	newest     int64
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	got, err := ref, error(nil)
	if a.AppenderV2 != nil {
		got, err = a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
		// A zero sample at the start timestamp may have been taken even if the
		// sample itself was not.
		if noted := cmp.Or(got, ref); noted != 0 {
			a.scribe.note(noted, ls, &opts.Metadata)
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
	points := a.samples + a.histograms
	if points > 0 {
		a.log.opts.Follower.Committing(points)
	}
	if a.AppenderV2 == nil {
		a.log.lose(points, cmp.Or(a.log.trouble.reason(), reasonOther))
		return errNotWritten
	}
	a.log.unfinished.begin(a)
	err := a.AppenderV2.Commit()
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
	return a.AppenderV2.Rollback()
}
