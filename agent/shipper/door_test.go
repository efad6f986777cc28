// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// TestSeriesPassTheDoorAsTheyLeave: who goes by the steps of a door ends with what
// is on the wire.
func TestSeriesPassTheDoorAsTheyLeave(t *testing.T) {
	for _, rules := range []string{
		"",
		"  - {source_labels: [environment], regex: prod, action: keep}\n",
		"  - {source_labels: [region], regex: r1, action: drop}\n",
		"  - {regex: clustername|environment|region, action: labeldrop}\n",
		"  - {target_label: environment, replacement: spoofed}\n",
	} {
		for _, trusted := range [][]string{nil, {"federate"}} {
			for _, ls := range []labels.Labels{
				labels.FromStrings("__name__", "a"),
				labels.FromStrings("__name__", "a", "region", "own", "environment", "dev"),
			} {
				cfg := given(t, "prod", rules, trusted...)
				left, ok := leave(t, cfg, ls)
				set, err := newSettings(cfg, cfg.Prometheus.RemoteWriteConfigs[0], false)
				if err != nil {
					t.Fatal(err)
				}
				door, b := Door{Rules: set.relabel, set: set}, labels.NewBuilder(labels.EmptyLabels())
				door.Enter(b, ls)
				kept := relabel.ProcessBuilder(b, door.Rules...)
				door.Leave(b, ls)
				if kept != ok || kept && b.Labels().String() != left.String() {
					t.Errorf("%s by %q, trusted %v: kept %v, %s; on the wire %v, %s", ls, rules, trusted, kept, b.Labels(), ok, left)
				}
			}
		}
	}
}
