// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// TestProofCentral kills the agent before a real Prometheus that takes nothing out of order, in trouble too, and asks it
// for all that it has.
func TestProofCentral(t *testing.T) {
	t.Parallel()
	f := func(name, message string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name := range rounds(t) {
				t.Run(name, func(t *testing.T) {
					central := startCentral(t)
					r := newRig(t, load.Options{Targets: 10, Series: 40, Churn: 10, Life: 4})
					address := r.trouble.before(t, central+"/api/v1/write")
					r.config = func() string { return r.ship(address, message) }
					for range 6 {
						r.start()
						r.live(500*time.Millisecond, 4*time.Second)
						r.kill()
					}
					r.trouble.end()
					r.start()
					r.live(2*time.Second, 3*time.Second)
					r.wantInCentral(t, central)
					r.term()
					r.check(readBack(t, central))
				})
			}
		})
	}
	f("remote write 1.0", messageV1)
	f("remote write 2.0", messageV2)
}

// wantInCentral waits until the newest numbers have come.
func (r *rig) wantInCentral(t *testing.T, central string) {
	t.Helper()
	want := make([]int, r.options.Targets)
	for i := range want {
		want[i] = r.fleet.Answered(i)
	}
	r.until(t, 120*time.Second, "what was scraped is in the central", func(ctx context.Context) error {
		found, err := process.Query(ctx, central, load.Metric+`{series="0"}`)
		if err != nil {
			return err
		}
		if len(found) != len(want) {
			return fmt.Errorf("%d targets are there, want %d", len(found), len(want))
		}
		for _, s := range found {
			if i := r.index(s.Metric["instance"]); s.Float() < float64(want[i]) {
				return fmt.Errorf("%s has come to %v, want %d", s.Metric["instance"], s.Float(), want[i])
			}
		}
		return nil
	})
}

// readBack asks a Prometheus for all points of the load.
func readBack(t *testing.T, central string) *receiver.Ledger {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string    `json:"metric"`
			Values [][2]json.RawMessage `json:"values"`
		} `json:"result"`
	}
	query := url.QueryEscape(`{__name__=~"load_.*|up"}[2h]`)
	if err := process.API(t.Context(), central+"/api/v1/query?query="+query, &data); err != nil {
		t.Fatal(err)
	}
	book := newLedger()
	for _, s := range data.Result {
		series := receiver.Series{Labels: labels.FromMap(s.Metric)}
		for _, v := range s.Values {
			at, err := strconv.ParseFloat(string(v[0]), 64)
			if err != nil {
				t.Fatal(err)
			}
			value, err := strconv.ParseFloat(strings.Trim(string(v[1]), `"`), 64)
			if err != nil {
				t.Fatal(err)
			}
			series.Points = append(series.Points, receiver.Point{Time: int64(at*1000 + 0.5), Value: value, Count: 1})
		}
		book.Add(series)
	}
	return book
}
