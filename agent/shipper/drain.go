// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// closeGrace is how long past the flush deadline the library may take to
	// cancel its requests.
	closeGrace = time.Second
	// The readers of the log have caught up once they read nothing more in
	// drainStable looks, drainInterval apart.
	drainInterval = 20 * time.Millisecond
	drainStable   = 4
)

// drain waits until the readers of the log stand at its end, or cannot go on
// because their queues are full: closing the library's queues drops what is
// not read yet, and only flushes what is.
func (s *Shipper) drain(ctx context.Context) {
	tick := time.NewTicker(drainInterval)
	defer tick.Stop()
	for stable, last := 0, -1.0; stable < drainStable; {
		s.wakeReaders()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if read := sum(s.metrics, recordsRead); read == last {
			stable++
		} else {
			stable, last = 0, read
		}
	}
}

// Metrics of the library that sum adds up.
const (
	recordsRead       = "prometheus_wal_watcher_records_read_total"
	samplesPending    = "prometheus_remote_storage_samples_pending"
	histogramsPending = "prometheus_remote_storage_histograms_pending"
)

// sum adds up all series of the metrics named.
func sum(g prometheus.Gatherer, names ...string) float64 {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	total := 0.0
	for _, f := range families {
		if !slices.Contains(names, f.GetName()) {
			continue
		}
		for _, m := range f.GetMetric() {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}
