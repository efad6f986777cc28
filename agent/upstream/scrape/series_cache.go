// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"hash/maphash"
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
	hash  uint64
	check uint32
	size  uint32 // bytes of the text

	ref  storage.SeriesRef
	lset packed.Labels

	lastIter uint32 // when it was exposed last
	tracked  uint32 // the last iteration in which it was tracked for staleness
	next     uint32 // 1 + the number of the entry that followed it then
	family   uint16 // number of one that it is part of; 0 is not known
	dropped  bool
	marks    entryMarks
}

type entryMarks uint8

const (
	markText entryMarks = 1 << iota // PromParser accepted the text
	markKept                        // the appender keeps the labels, see labelKeeper
)

func (e *cacheEntry) has(mark entryMarks) bool { return e.marks&mark != 0 }

// RefBits of a ref are of the series. What an appender sets above them comes back
// to it with the same labels, and makes no other series of them.
const (
	RefBits = 40
	RefMask = storage.SeriesRef(1)<<RefBits - 1
)

// firstIter lets an entry that was never tracked be of no iteration at hand.
const firstIter = 2

// seriesTable finds entries by their text. The one that is looked for is
// nearly always the one that followed the former in the last scrape. Else an
// open-addressing table of their numbers is asked.
type seriesTable struct {
	seeds   [2]maphash.Seed
	entries []cacheEntry
	slots   []uint32            // 1 + the number of an entry; 0 is free. A power of two of them
	sts     map[uint64]*stCache // by the hash of an entry; nil is that no start time was synthesized
	iter    uint32              // the current scrape
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
	return seriesTable{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, iter: firstIter}
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
	if len(s.slots) == 0 {
		return 0, false
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; s.slots[i] != 0; i = (i + 1) & mask {
		number := s.slots[i] - 1
		if e := &s.entries[number]; e.hash == hash && e.check == check && int(e.size) == len(met) {
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
	if e, number := s.expected(); e != nil && e.hash == hash && e.check == check && int(e.size) == len(met) {
		return number, true
	}
	return s.lookup(met, hash, check)
}

// series finds the entry that the text of a line begins with, if PromParser
// accepted that once.
func (s *seriesTable) series(line []byte) (uint32, bool) {
	if e, number := s.expected(); e != nil && int(e.size) < len(line) {
		if hash, check := s.hashes(line[:e.size]); e.hash == hash && e.check == check {
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
	if s.text && !e.has(markText) {
		e.marks |= markText
	}
	if e.lastIter == s.iter {
		return e, true
	}
	e.lastIter = s.iter
	s.seen++
	s.follow(number)
	return e, false
}

// add takes a new entry. Pointers to others are of no use after it.
func (s *seriesTable) add(met []byte, e cacheEntry) *cacheEntry {
	e.hash, e.check = s.hashes(met)
	e.size, e.lastIter = uint32(len(met)), s.iter
	if s.text {
		e.marks |= markText
	}
	if number, ok := s.lookup(met, e.hash, e.check); ok {
		former, _ := s.touch(number)
		e.next = former.next
		*former = e
		s.setST(former, nil)
		return former
	}
	if len(s.entries) >= len(s.slots)/4*3 {
		s.rehash(len(s.entries) + 1)
	}
	if len(s.entries) == cap(s.entries) {
		s.grow()
	}
	s.entries = append(s.entries, e)
	number := uint32(len(s.entries) - 1)
	s.put(number)
	s.seen++
	s.follow(number)
	return &s.entries[number]
}

// spare is how many entries more than n there is room for.
func spare(n int) int { return 8 + n/8 }

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
		if s.entries[i].lastIter != s.iter {
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
	s.rehash(len(s.entries))
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
	s.iter++
	s.seen, s.previous, s.foundAt = 0, 0, nil
	s.before, s.tracked, s.again = s.tracked, 0, 0
}

// trackStaleness notes that the end of a series is to be told when it is not exposed any
// more.
func (s *seriesTable) trackStaleness(e *cacheEntry) {
	switch e.tracked {
	case s.iter:
		return
	case s.iter - 1:
		s.again++
	}
	s.tracked++
	e.tracked = s.iter
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
		if e := &s.entries[number]; e.tracked == s.iter-1 {
			gone[e.ref&RefMask] = uint32(number)
		}
	}
	for number := range s.entries {
		if e := &s.entries[number]; e.tracked == s.iter {
			delete(gone, e.ref&RefMask)
		}
	}
	for _, number := range gone {
		if e := &s.entries[number]; !f(e.ref, e.lset.Labels()) {
			return
		}
	}
}
