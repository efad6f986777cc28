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
	markText    entryMarks = 1 << (15 - iota) // PromParser accepted the text, which is no long one
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

// accept marks what PromParser accepted.
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
	// slotsFor iterations the table is kept that nothing was looked up in.
	slotsFor = 4
)

// seriesTable finds entries by their text. The one that is looked for is
// nearly always the one that followed the former in the last scrape. Else an
// open-addressing table of their numbers is asked, which is made when it is
// needed.
type seriesTable struct {
	seeds   [2]maphash.Seed
	entries []cacheEntry
	slots   []uint32            // 1 + the number of an entry; 0 is free. A power of two of them, or none
	asked   uint32              // iter when slots were needed last
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

	text bool // what is looked for is what PromParser, or that one, read
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
		next = s.entries[s.previous-1].next
	}
	if next == 0 || int(next) > len(s.entries) {
		return nil, 0
	}
	return &s.entries[next-1], next - 1
}

// lookup returns the number of the entry of met.
func (s *seriesTable) lookup(met []byte, hash uint64, check uint32) (uint32, bool) {
	if len(s.entries) == 0 {
		return 0, false
	}
	s.asked = s.iter
	if s.slots == nil {
		s.rehash(len(s.entries))
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; s.slots[i] != 0; i = (i + 1) & mask {
		number := s.slots[i] - 1
		if s.entries[number].is(met, hash, check) {
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

// series finds the entry that the text of a line begins with, if PromParser
// accepted that once.
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
	return number, ok && s.entries[number].has(markText)
}

// follow notes that an entry was exposed after the former one.
func (s *seriesTable) follow(number uint32) {
	at := &s.first
	if s.previous > 0 {
		at = &s.entries[s.previous-1].next
	}
	if *at != number+1 {
		*at = number + 1
	}
	s.previous = number + 1
}

// touch notes that an entry is exposed in this iteration, and says whether it
// was already.
func (s *seriesTable) touch(number uint32) (*cacheEntry, bool) {
	e := &s.entries[number]
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
	if len(s.entries) == cap(s.entries) {
		s.grow()
	}
	s.entries = append(s.entries, e)
	number := uint32(len(s.entries) - 1)
	switch {
	case s.slots == nil: // It is the first one.
	case len(s.entries) > len(s.slots)/4*3:
		s.rehash(len(s.entries))
	default:
		s.put(number)
	}
	s.seen++
	s.follow(number)
	return &s.entries[number]
}

// spare is how many entries more than n there is room for.
func spare(n int) int { return 8 + n/32 }

// grow makes room: much in the first scrape of a target, little in others.
func (s *seriesTable) grow() {
	room := spare(len(s.entries))
	if s.iter == firstIter {
		room = 16 + len(s.entries)
	}
	s.entries = append(make([]cacheEntry, 0, len(s.entries)+room), s.entries...)
}

func (s *seriesTable) put(number uint32) {
	mask := uint64(len(s.slots) - 1)
	i := s.entries[number].hash & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = number + 1
}

// rehash makes the table of numbers anew, for n entries.
func (s *seriesTable) rehash(n int) {
	size := 16
	for size/4*3 <= n {
		size *= 2
	}
	if size == len(s.slots) {
		clear(s.slots)
	} else {
		s.slots = make([]uint32, size)
	}
	for number := range s.entries {
		s.put(uint32(number))
	}
}

// flush forgets the entries that were not exposed in this iteration.
func (s *seriesTable) flush() {
	if s.seen == len(s.entries) {
		s.clip()
		return
	}
	moved := make([]uint32, len(s.entries)) // 1 + where an entry is now
	kept := s.entries[:0]
	for i := range s.entries {
		if s.entries[i].lastIter != s.now {
			s.setST(&s.entries[i], nil)
			continue
		}
		kept = append(kept, s.entries[i])
		moved[i] = uint32(len(kept))
	}
	clear(s.entries[len(kept):])
	s.entries = kept
	for i := range s.entries {
		s.entries[i].next = forward(moved, s.entries[i].next)
	}
	s.first = forward(moved, s.first)
	s.clip()
	s.slots = nil // They have other numbers now.
}

func forward(moved []uint32, number uint32) uint32 {
	if number == 0 || int(number) > len(moved) {
		return 0
	}
	return moved[number-1]
}

// clip gives memory back that growth, or many entries of former scrapes, left.
func (s *seriesTable) clip() {
	if n := len(s.entries); cap(s.entries)-n > spare(n) {
		s.entries = append(make([]cacheEntry, 0, len(s.entries)+len(s.entries)/32), s.entries...)
	}
}

// end begins the next iteration.
func (s *seriesTable) end() {
	if s.slots != nil && s.iter-s.asked >= slotsFor {
		s.slots = nil
	}
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
	for i := range s.entries {
		again(&s.entries[i].lastIter)
		again(&s.entries[i].tracked)
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
	for number := range s.entries {
		if e := &s.entries[number]; e.tracked == s.now-1 {
			gone[e.ref&RefMask] = uint32(number)
		}
	}
	for number := range s.entries {
		if e := &s.entries[number]; e.tracked == s.now {
			delete(gone, e.ref&RefMask)
		}
	}
	for _, number := range gone {
		if e := &s.entries[number]; !f(e.ref, e.lset.Labels()) {
			return
		}
	}
}
