// SPDX-License-Identifier: Apache-2.0

package scrape

// This file is Torchbearer's.

const (
	// entriesTogether fill the memory that the allocator has for them. More in one
	// piece would leave much of it unused, and be copied as a whole to grow.
	entriesTogether = 51
	fewestEntries   = 8
)

// entryList has the entries of a target, by number. The zero value has none.
type entryList struct {
	pieces [][]cacheEntry // of entriesTogether, but for the last one
	n      int
}

func (l *entryList) len() int { return l.n }

// at is good until an entry is added.
func (l *entryList) at(number uint32) *cacheEntry {
	return &l.pieces[number/entriesTogether][number%entriesTogether]
}

// add returns the number of the new entry.
func (l *entryList) add(e cacheEntry) uint32 {
	if l.n%entriesTogether == 0 {
		l.pieces = append(l.pieces, nil)
	}
	last := &l.pieces[len(l.pieces)-1]
	if len(*last) == cap(*last) {
		room := min(max(2*cap(*last), fewestEntries), entriesTogether)
		*last = append(make([]cacheEntry, 0, room), *last...)
	}
	*last = append(*last, e)
	l.n++
	return uint32(l.n - 1)
}

// cut leaves the first n.
func (l *entryList) cut(n int) {
	pieces := (n + entriesTogether - 1) / entriesTogether
	clear(l.pieces[pieces:])
	l.pieces, l.n = l.pieces[:pieces], n
	if cap(l.pieces) > 2*pieces+fewestEntries {
		l.pieces = append(make([][]cacheEntry, 0, pieces), l.pieces...)
	}
	if pieces == 0 {
		return
	}
	last := &l.pieces[pieces-1]
	kept := (*last)[:n-(pieces-1)*entriesTogether]
	clear((*last)[len(kept):])
	if cap(kept) > 2*len(kept)+fewestEntries {
		kept = append(make([]cacheEntry, 0, len(kept)+fewestEntries), kept...)
	}
	*last = kept
}
