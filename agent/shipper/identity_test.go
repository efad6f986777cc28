// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	id := func(name, url, rules string) identity { return identity{Name: name, URL: url, Rules: rules} }
	known := []identity{id("", "u1", ""), id("b", "u2", ""), id("", "u3", "r1"), id("", "u3", "r2")}
	for name, tc := range map[string]struct {
		wanted []identity
		want   []int
	}{
		"unchanged":              {known, []int{0, 1, 2, 3}},
		"in another order":       {[]identity{known[3], known[2], known[1], known[0]}, []int{3, 2, 1, 0}},
		"removed and added":      {[]identity{known[1], id("", "u9", "")}, []int{1, none}},
		"given a name":           {[]identity{id("a", "u1", "")}, []int{0}},
		"another name":           {[]identity{id("c", "u2", "")}, []int{1}},
		"another URL by name":    {[]identity{id("b", "u9", "")}, []int{1}},
		"another URL, no name":   {[]identity{id("", "u9", "")}, []int{none}},
		"other rules":            {[]identity{id("", "u1", "new")}, []int{0}},
		"names swapped":          {[]identity{id("b", "u1", ""), id("", "u2", "")}, []int{1, none}},
		"one of two of an URL":   {[]identity{known[3]}, []int{3}},
		"other rules of one":     {[]identity{known[2], id("", "u3", "new")}, []int{2, 3}},
		"two for one that it is": {[]identity{known[0], id("x", "u1", "")}, []int{0, none}},
		"none known":             {nil, []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, match(tc.wanted, known)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
