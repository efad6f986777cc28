// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// appendMerged appends the labels that a series leaves with, in the order of
// their names. A label of the series' own wins over an added one unless that is
// forced; one without a value counts as absent. added is in the order of names.
func appendMerged(dst []labels.Label, of *series, added []addedLabel) []labels.Label {
	if of.complete {
		of.labels().Range(func(l labels.Label) { dst = append(dst, l) })
		return dst
	}
	next := 0
	of.labels().Range(func(own labels.Label) {
		for ; next < len(added); next++ {
			order := strings.Compare(added[next].Name, own.Name)
			if order > 0 {
				break
			}
			if order == 0 {
				if added[next].force || own.Value == "" {
					own = added[next].Label
				}
				next++
				break
			}
			dst = appendPresent(dst, added[next].Label)
		}
		dst = appendPresent(dst, own)
	})
	for ; next < len(added); next++ {
		dst = appendPresent(dst, added[next].Label)
	}
	return dst
}

func appendPresent(dst []labels.Label, l labels.Label) []labels.Label {
	if l.Value == "" {
		return dst
	}
	return append(dst, l)
}
