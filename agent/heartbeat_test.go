// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"

	"github.com/prometheus/common/model"
)

// TestCountersOfHeartbeatsBeginAtZero: what was lost before the first one is an
// increase, too, at the central.
func TestCountersOfHeartbeatsBeginAtZero(t *testing.T) {
	h := &heartbeat{instance: "n1", alive: map[string]*beatSeries{}}
	beat := func(lost, backlog float64) (got [2]float64) {
		h.beats++
		for _, v := range []vital{
			{"lost_samples_total", model.MetricTypeCounter, "", []string{"reason", "retention"}, lost}, gaugeVital("backlog_samples", "", backlog),
		} {
			h.note(&v)
		}
		for _, s := range h.alive {
			if s.kind == model.MetricTypeCounter {
				got[0] = s.value
			} else {
				got[1] = s.value
			}
		}
		return got
	}
	if got := beat(500, 7); got != [2]float64{0, 7} {
		t.Errorf("at first %v", got)
	}
	if got := beat(501, 8); got != [2]float64{501, 8} {
		t.Errorf("then %v", got)
	}
}
