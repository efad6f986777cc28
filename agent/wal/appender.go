// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// appender counts what passes on its way to agent.DB.
type appender struct {
	storage.AppenderV2

	log        *Log
	samples    int
	histograms int
	exemplars  int
	newest     int64
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	ref, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	if ref == 0 {
		return ref, err
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
	return ref, err
}

// Commit implements storage.AppenderTransaction.
func (a *appender) Commit() error {
	err := a.AppenderV2.Commit()
	switch {
	case err != nil:
		a.log.commitFailed(a.samples+a.histograms, err)
	case a.samples+a.histograms > 0:
		a.log.opts.Follower.Committed(a.samples, a.histograms, a.exemplars, a.newest)
	}
	return err
}
