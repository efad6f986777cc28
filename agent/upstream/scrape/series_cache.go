// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"hash/maphash"
	"math"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/packed"
)

// This file is Torchbearer's: it has, of all that a target exposed, what
// upstream keeps in four maps by text and by ref.

// cacheEntry is a series that a target exposed, or one that relabelling
// dropped. Its text is not kept: it is known by two hashes of it, 96 bits that
// no target can foresee.
type cacheEntry struct {
	hash uint64
	ref  storage.SeriesRef
	lset packed.Labels

	check    uint32
	next     uint32 // 1 + the number of the entry that followed it when it was exposed last
	lastIter uint16 // when that was
	tracked  uint16 // the last iteration in which it was tracked for staleness
	family   uint16 // number of one that it is part of; 0 is not known
	text     uint16 // bytes of the text, up to longText, and entryMarks
}

// entryMarks are bits of cacheEntry.text.
type entryMarks uint16

const (
	markText    entryMarks = 1 << (15 - iota) // a parser of the format accepted the text, which is no long one
	markKept                                  // the appender keeps the labels, see labelKeeper
	markDropped                               // by relabelling

	// longText stands for all lengths from it on.
	longText = 1<<13 - 1
)

func (e *cacheEntry) has(mark entryMarks) bool { return e.text&uint16(mark) != 0 }
func (e *cacheEntry) mark(as entryMarks)       { e.text |= uint16(as) }
func (e *cacheEntry) unmark(as entryMarks)     { e.text &^= uint16(as) }

// size is the length of the text, or longText.
func (e *cacheEntry) size() int { return int(e.text & longText) }

// accept marks what a parser of the format accepted.
func (e *cacheEntry) accept() {
	if e.size() < longText {
		e.mark(markText)
	}
}

// is says whether it is of met, which has those hashes.
func (e *cacheEntry) is(met []byte, hash uint64, check uint32) bool {
	return e.hash == hash && e.check == check && e.size() == min(len(met), longText)
}

// RefBits of a ref are of the series. What an appender sets above them comes back
// to it with the same labels, and makes no other series of them.
const (
	RefBits = 40
	RefMask = storage.SeriesRef(1)<<RefBits - 1
)

const (
	// firstIter lets an entry that was never tracked be of no iteration at hand.
	firstIter = 2
	// lastIter is followed by another first one.
	lastIter = math.MaxUint16
)

// seriesTable finds entries by their text. The one that is looked for is
// nearly always the one that followed the former in the last scrape. Else an
// open-addressing table of their numbers is asked, which is made when it is
// needed, as it is in few scrapes.
type seriesTable struct {
	seeds   [2]maphash.Seed
	entries entryList
	slots   []uint32            // 1 + the number of an entry; 0 is free. A power of two of them, or none
	sts     map[uint64]*stCache // by the hash of an entry; nil is that no start time was synthesized
	iter    uint32              // the current scrape
	now     uint16              // the same in entries, which begins again
	seen    int                 // entries exposed in it

	tracked int // entries tracked for staleness in this iteration
	again   int // those of them that were in the former one too
	before  int // entries tracked in the former iteration

	first    uint32 // 1 + the entry that the last scrape began with
	previous uint32 // 1 + the entry that was found last in this one

	// What the parser of known lines found, until get is asked for it.
	foundAt *byte
	found   uint32

	text   bool       // what is looked for is what a parser of format, or that one, read
	format textFormat // of which texts are marked
}

// readAs says which format what is looked for was read in. In another one a text
// may be something else.
func (s *seriesTable) readAs(format textFormat) {
	if s.text = format != otherFormat; !s.text || s.format == format {
		return
	}
	s.format = format
	for i := range uint32(s.entries.len()) {
		s.entries.at(i).unmark(markText)
	}
}

func newSeriesTable() seriesTable {
	return seriesTable{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, iter: firstIter, now: firstIter}
}

func (s *seriesTable) hashes(met []byte) (uint64, uint32) {
	return maphash.Bytes(s.seeds[0], met), uint32(maphash.Bytes(s.seeds[1], met))
}

// expected is the entry that should come next, nil if there is no telling.
func (s *seriesTable) expected() (*cacheEntry, uint32) {
	next := s.first
	if s.previous > 0 {
		next = s.entries.at(s.previous - 1).next
	}
	if next == 0 || int(next) > s.entries.len() {
		return nil, 0
	}
	return s.entries.at(next - 1), next - 1
}

// lookup returns the number of the entry of met.
func (s *seriesTable) lookup(met []byte, hash uint64, check uint32) (uint32, bool) {
	if s.entries.len() == 0 {
		return 0, false
	}
	if s.slots == nil {
		s.rehash()
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; s.slots[i] != 0; i = (i + 1) & mask {
		number := s.slots[i] - 1
		if s.entries.at(number).is(met, hash, check) {
			return number, true
		}
	}
	return 0, false
}

// find returns the entry of met, whatever it is of.
func (s *seriesTable) find(met []byte) (uint32, bool) {
	if s.foundAt != nil && s.foundAt == unsafe.SliceData(met) {
		s.foundAt = nil
		return s.found, true
	}
	s.foundAt = nil
	hash, check := s.hashes(met)
	if e, number := s.expected(); e != nil && e.is(met, hash, check) {
		return number, true
	}
	return s.lookup(met, hash, check)
}

// series finds the entry that the text of a line begins with, if a parser of the
// format accepted that once.
func (s *seriesTable) series(line []byte) (uint32, bool) {
	if e, number := s.expected(); e != nil && e.size() < len(line) {
		if hash, check := s.hashes(line[:e.size()]); e.hash == hash && e.check == check {
			return number, e.has(markText)
		}
	}
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	end := bytes.LastIndexByte(line, '}') + 1
	if end == 0 {
		end = max(bytes.IndexByte(line, ' '), 0)
	}
	hash, check := s.hashes(line[:end])
	number, ok := s.lookup(line[:end], hash, check)
	return number, ok && s.entries.at(number).has(markText)
}

// follow notes that an entry was exposed after the former one.
func (s *seriesTable) follow(number uint32) {
	at := &s.first
	if s.previous > 0 {
		at = &s.entries.at(s.previous - 1).next
	}
	if *at != number+1 {
		*at = number + 1
	}
	s.previous = number + 1
}

// touch notes that an entry is exposed in this iteration, and says whether it
// was already.
func (s *seriesTable) touch(number uint32) (*cacheEntry, bool) {
	e := s.entries.at(number)
	if s.text {
		e.accept()
	}
	if e.lastIter == s.now {
		return e, true
	}
	e.lastIter = s.now
	s.seen++
	s.follow(number)
	return e, false
}

// add takes a new entry. Pointers to others are of no use after it.
func (s *seriesTable) add(met []byte, e cacheEntry) *cacheEntry {
	e.hash, e.check = s.hashes(met)
	e.text |= uint16(min(len(met), longText))
	e.lastIter = s.now
	if s.text {
		e.accept()
	}
	if number, ok := s.lookup(met, e.hash, e.check); ok {
		former, _ := s.touch(number)
		e.next = former.next
		*former = e
		s.setST(former, nil)
		return former
	}
	number := s.entries.add(e)
	switch {
	case s.slots == nil: // It is the first one.
	case s.entries.len() > len(s.slots)/4*3:
		s.rehash()
	default:
		s.put(number)
	}
	s.seen++
	s.follow(number)
	return s.entries.at(number)
}

func (s *seriesTable) put(number uint32) {
	mask := uint64(len(s.slots) - 1)
	i := s.entries.at(number).hash & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = number + 1
}

// rehash makes the table of numbers anew.
func (s *seriesTable) rehash() {
	size := 16
	for size/4*3 <= s.entries.len() {
		size *= 2
	}
	s.slots = make([]uint32, size)
	for number := range uint32(s.entries.len()) {
		s.put(number)
	}
}

// flush forgets the entries that were not exposed in this iteration.
func (s *seriesTable) flush() {
	n := uint32(s.entries.len())
	if s.seen == int(n) {
		return
	}
	moved, kept := make([]uint32, n), uint32(0) // 1 + where an entry is now
	for i := range n {
		e := s.entries.at(i)
		if e.lastIter != s.now {
			s.setST(e, nil)
			continue
		}
		if kept != i {
			*s.entries.at(kept) = *e
		}
		kept++
		moved[i] = kept
	}
	s.entries.cut(int(kept))
	for i := range kept {
		e := s.entries.at(i)
		e.next = forward(moved, e.next)
	}
	s.first = forward(moved, s.first)
	s.slots = nil // They have other numbers now.
}

func forward(moved []uint32, number uint32) uint32 {
	if number == 0 || int(number) > len(moved) {
		return 0
	}
	return moved[number-1]
}

// end begins the next iteration.
func (s *seriesTable) end() {
	s.slots = nil
	if s.now == lastIter {
		s.renumber()
	}
	s.iter++
	s.now++
	s.seen, s.previous, s.foundAt = 0, 0, nil
	s.before, s.tracked, s.again = s.tracked, 0, 0
}

// renumber makes the current iteration the first one.
func (s *seriesTable) renumber() {
	again := func(iter *uint16) {
		if *iter == s.now {
			*iter = firstIter
		} else {
			*iter = 0
		}
	}
	for i := range uint32(s.entries.len()) {
		e := s.entries.at(i)
		again(&e.lastIter)
		again(&e.tracked)
	}
	s.now = firstIter
}

// trackStaleness notes that the end of a series is to be told when it is not exposed any
// more.
func (s *seriesTable) trackStaleness(e *cacheEntry) {
	switch e.tracked {
	case s.now:
		return
	case s.now - 1:
		s.again++
	}
	s.tracked++
	e.tracked = s.now
}

// forEachStale calls f for the series that were tracked in the last iteration and are
// not in this one, once for each ref, until f returns false. Another text of
// the same series counts as the same.
func (s *seriesTable) forEachStale(f func(storage.SeriesRef, labels.Labels) bool) {
	if s.again == s.before {
		return
	}
	gone := make(map[storage.SeriesRef]uint32, s.before-s.again)
	for number := range uint32(s.entries.len()) {
		if e := s.entries.at(number); e.tracked == s.now-1 {
			gone[e.ref&RefMask] = number
		}
	}
	for number := range uint32(s.entries.len()) {
		if e := s.entries.at(number); e.tracked == s.now {
			delete(gone, e.ref&RefMask)
		}
	}
	for _, number := range gone {
		if e := s.entries.at(number); !f(e.ref, e.lset.Labels()) {
			return
		}
	}
}
