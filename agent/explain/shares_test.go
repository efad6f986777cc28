// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"testing"

	"github.com/prometheus/prometheus/model/relabel"
)

func TestRuleShares(t *testing.T) {
	all := rules(t, "- {source_labels: [a], regex: x, action: drop}\n- {source_labels: [a], target_label: b}\n- {source_labels: [a], regex: y, action: keep}\n- {regex: c, action: labeldrop}")
	for _, tc := range []struct {
		rules []*relabel.Config
		total int64
		now   []int
		want  string
	}{
		{all, 0, []int{0, 0, 0, 0}, "1: 0, 0 of 0 now; 2: 0, 0 of 0 now; 3: 0, 0 of 0 now; 4: 0, 0 of 0 now"},
		{all, 10, []int{1, 0, 2, 0}, "1: about 3, 0 of 1 now; 2: 0, 0 of 0 now; 3: about 7, 0 of 2 now; 4: 0, 0 of 0 now"},
		{all, 10, []int{0, 0, 0, 0}, "1: unknown, 0 of 0 now; 2: 0, 0 of 0 now; 3: unknown, 0 of 0 now; 4: 0, 0 of 0 now"},
		{all[:2], 10, []int{0, 0}, "1: 10, 0 of 0 now; 2: 0, 0 of 0 now"},
		{all[:2], 1 << 62, []int{1 << 40, 0}, "1: 4611686018427387904, 0 of 1099511627776 now; 2: 0, 0 of 0 now"},
	} {
		if got := ruleText(ruleShares(tc.rules, tc.total, tc.now)); got != tc.want {
			t.Errorf("of %d with %v now: got %s, want %s", tc.total, tc.now, got, tc.want)
		}
	}
}
