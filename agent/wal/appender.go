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

	log     *Log
	samples int
	newest  int64
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	ref, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	// A ref comes with an error when the sample was taken and an exemplar was not.
	if ref != 0 {
		if a.samples == 0 {
			a.newest = math.MinInt64
		}
		a.samples++
		a.newest = max(a.newest, t)
	}
	return ref, err
}

// Commit implements storage.AppenderTransaction.
func (a *appender) Commit() error {
	err := a.AppenderV2.Commit()
	switch {
	case err != nil:
		a.log.commitFailed(a.samples, err)
	case a.samples > 0:
		a.log.follower.Committed(a.samples, a.newest)
	}
	return err
}
