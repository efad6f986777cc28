// SPDX-License-Identifier: Apache-2.0

package wal

import "slices"

// palette has a value for each row of a page, of which most are the same. The
// zero value has none.
type palette[T comparable] struct {
	values []T
	of     [rowsPerPage]uint8 // 1 + the index of a value; 0 is none
}

// get is the zero value where there is none.
func (p *palette[T]) get(row int) (value T) {
	if at := p.of[row]; at > 0 {
		value = p.values[at-1]
	}
	return value
}

// set gives a row a value. There are no more values than rows: when there would
// be, those that none of the other rows has are left out.
func (p *palette[T]) set(row int, value T) {
	at := slices.Index(p.values, value)
	if at < 0 && len(p.values) == rowsPerPage {
		former := *p
		*p = palette[T]{}
		for other := range former.of {
			if other != row && former.of[other] > 0 {
				p.set(other, former.get(other))
			}
		}
	}
	if at < 0 {
		at = len(p.values)
		p.values = append(p.values, value)
	}
	p.of[row] = uint8(at + 1)
}

// unset takes the value of a row away.
func (p *palette[T]) unset(row int) { p.of[row] = 0 }
