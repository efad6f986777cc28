// SPDX-License-Identifier: Apache-2.0

package scrape

// This file is Torchbearer's: few synthesize start times, so that entries have no
// room for it.

// st is the state for ST synthesis of an entry, or nil.
func (s *seriesTable) st(e *cacheEntry) *stCache { return s.sts[e.hash] }

func (s *seriesTable) setST(e *cacheEntry, st *stCache) {
	switch {
	case st == nil:
		delete(s.sts, e.hash)
	case s.sts == nil:
		s.sts = map[uint64]*stCache{e.hash: st}
	default:
		s.sts[e.hash] = st
	}
}
