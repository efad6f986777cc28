// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"
)

func TestAppendMerged(t *testing.T) {
	added := func(force bool, names ...string) []addedLabel {
		var all []addedLabel
		for _, name := range names {
			all = append(all, addedLabel{Label: labels.Label{Name: name, Value: "added"}, force: force})
		}
		return all
	}
	empty := []addedLabel{{Label: labels.Label{Name: "b"}, force: true}}
	for _, test := range []struct {
		name     string
		own      []string
		complete bool
		added    []addedLabel
		want     []string
	}{
		{name: "nothing"},
		{name: "none added", own: []string{"a", "1"}, want: []string{"a", "1"}},
		{name: "none of its own", added: added(false, "a", "b"), want: []string{"a", "added", "b", "added"}},
		{name: "before, between and after", own: []string{"b", "1", "d", "2"}, added: added(false, "a", "c", "e"), want: []string{"a", "added", "b", "1", "c", "added", "d", "2", "e", "added"}},
		{name: "its own wins", own: []string{"b", "1"}, added: added(false, "a", "b"), want: []string{"a", "added", "b", "1"}},
		{name: "unless forced", own: []string{"b", "1"}, added: added(true, "a", "b"), want: []string{"a", "added", "b", "added"}},
		{name: "empty is absent", own: []string{"a", "", "b", ""}, added: added(false, "b"), want: []string{"b", "added"}},
		{name: "complete", complete: true, own: []string{"b", "1"}, added: added(true, "a", "b"), want: []string{"b", "1"}},
		{name: "forced away", own: []string{"b", "1"}, added: empty},
		{name: "order of bytes", own: []string{"Z", "1", "ä", "2"}, added: added(false, "_", "z"), want: []string{"Z", "1", "_", "added", "z", "added", "ä", "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			of := leavingSeries(labels.FromStrings(test.own...), test.complete)
			var got []string
			for _, l := range appendMerged(nil, of, test.added) {
				got = append(got, l.Name, l.Value)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
