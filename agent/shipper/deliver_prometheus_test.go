// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	promremote "github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
)

// startPrometheus starts Prometheus's own receiver over a TSDB that takes nothing out of
// order.
func startPrometheus(t *testing.T) (address string, db *tsdb.DB, requests *atomic.Int64) {
	t.Helper()
	logger := promslog.NewNopLogger()
	db, err := tsdb.Open(t.TempDir(), logger, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	handler := promremote.NewWriteHandler(logger, nil, db,
		remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType}, false, false)
	requests = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, db, requests
}

// countStored counts the samples of a TSDB.
func countStored(t *testing.T, db *tsdb.DB) int {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	n := 0
	for set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")); set.Next(); {
		for samples := set.At().Iterator(nil); samples.Next() != 0; {
			n++
		}
	}
	return n
}

// Prometheus rolls a request of 1.0 back for one sample out of order, and of 2.0
// it stores the others.
func TestPrometheusRefusesOneSampleOfTwoThousand(t *testing.T) {
	t.Parallel()
	for _, v2 := range []bool{false, true} {
		address, db, requests := startPrometheus(t)
		s, registry := quick(t)
		set := settingsFor(t, address, v2)
		begin := time.Now().UnixMilli()
		points := makePoints(2000, 2)
		for i := range points {
			points[i].t += begin
		}
		if err := s.deliver(t.Context(), set, copied(points), &fates{}); err != nil {
			t.Fatal(err)
		}
		next := copied(points)
		for i := range next {
			next[i].t += 10
		}
		next[1234].t = begin - 1000
		if err := s.deliver(t.Context(), set, copied(next), &fates{}); err != nil {
			t.Fatal(err)
		}
		if got := countStored(t, db); got != 7999 {
			t.Errorf("2.0 %v: %d samples are stored, want 7999", v2, got)
		}
		if got := value(t, registry, "torchbearer_remote_samples_refused_total", "reason", refusedOutOfOrder); got != 1 {
			t.Errorf("2.0 %v: %v counted as refused", v2, got)
		}
		if most := int64(2 + 14); requests.Load() > most || v2 && requests.Load() != 2 {
			t.Errorf("2.0 %v: %d requests", v2, requests.Load())
		}
		entries := s.refused.snapshot()
		if len(entries) != 1 || !strings.Contains(entries[0].Words, "out of order sample") {
			t.Errorf("2.0 %v: the log of refusals has %+v", v2, entries)
		}

		// Sent a second time, as after a crash, what is the newest of its series is
		// taken and nothing is stored twice.
		if err := s.deliver(t.Context(), set, copied(next), &fates{}); err != nil {
			t.Fatal(err)
		}
		if got := countStored(t, db); got != 7999 {
			t.Errorf("2.0 %v: after a repeat %d samples are stored", v2, got)
		}
	}
}
