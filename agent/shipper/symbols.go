// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"encoding/binary"
	"slices"
	"unique"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"torchbearer/agent/packed"
)

// keepSymbols is how large a table may have been for its memory to be kept.
const keepSymbols = 1 << 16

// symbols is the table of strings of one request of Remote Write 2.0. It writes
// itself to table as strings are added.
type symbols struct {
	refs  map[string]uint32
	count uint32
	table []byte

	// Series that follow one another have most labels in common, so those of
	// the series before save most look-ups. The families of a target take
	// turns: of each form of series the last one is known.
	*shape
	shapes  []*shape
	known   int          // of shapes; the others are memory
	next    int          // that gives its place to another
	added   []addedLabel // by name
	moved   bool         // before has not the names of the series before that one
	changed []int        // else: where it has other values

	// How series followed one another is remembered.
	book    *book  // nil if it is not
	request uint32 // number of this one, for the book

	// The series of a family follow one another too.
	metadata unique.Handle[metadata.Metadata]
	family   familyRefs
}

// mostShapes are known at a time.
const mostShapes = 16

// shape is the last series of those that have the same names.
type shape struct {
	base   packed.Base
	before []symbolized // its labels
	last   uint32       // its number; 0 is none
	adding bool         // all of added are among before
}

// symbolized is a label with the references to its name and value as they are
// written.
type symbolized struct {
	labels.Label

	refs  [2 * binary.MaxVarintLen32]byte
	named uint8 // how much of refs the name takes; 0 until it was needed
	size  uint8 // of refs; 0 until they were needed, and where there is no value
	added int   // 1 + the index of an added label; 0 for one of the series
	own   bool  // the series has the added label itself, and its value wins
}

// begin starts a table behind dst. The first string of each is the empty one.
// added come to series that are not complete.
func (s *symbols) begin(dst []byte, opts encodeOptions) {
	if s.refs == nil {
		s.refs = map[string]uint32{}
	}
	if n := opts.numbers; n != nil && (s.book == nil || s.book.worn()) {
		s.book, s.request = newBook(n), 0
	}
	s.count, s.added = 1, opts.added
	s.request++
	s.table = appendString(dst, tagSymbols, "")
}

// end gives the table and lets go of all strings.
func (s *symbols) end() []byte {
	table := s.table
	if s.count > keepSymbols {
		s.refs = nil
	}
	clear(s.refs)
	for _, old := range s.shapes[:s.known] {
		old.forget()
	}
	*s = symbols{refs: s.refs, shapes: s.shapes, changed: s.changed[:0], book: s.book, request: s.request}
	return table
}

func (s *symbols) ref(of string) uint32 {
	if of == "" {
		return 0
	}
	if ref, ok := s.refs[of]; ok {
		return ref
	}
	ref := s.count
	s.refs[of] = ref
	s.count++
	s.table = appendString(s.table, tagSymbols, of)
	return ref
}

// appendSeriesRefs appends the references to names and values of the labels that
// a series leaves with, which are those that appendMerged has.
func (s *symbols) appendSeriesRefs(dst []byte, of *series) []byte {
	if s.follow(&of.step) {
		for i := range s.before {
			b := &s.before[i]
			dst = append(dst, b.refs[:b.size]...)
		}
		return dst
	}
	s.moved, s.changed = false, s.changed[:0]
	s.turn(of)
	i := 0
	of.labels().Range(func(l labels.Label) {
		if l.Value == "" && s.adding {
			return
		}
		if i == len(s.before) || s.before[i].Name != l.Name {
			dst, i = s.find(dst, i, l.Name)
		}
		b := &s.before[i]
		if b.Value != l.Value || b.size == 0 {
			s.give(i, l.Value)
		}
		dst = append(dst, b.refs[:b.size]...)
		i++
	})
	for i < len(s.before) {
		dst, i = s.leave(dst, i)
	}
	s.remember(&of.step)
	return dst
}

// turn makes before that of a series like this one. Where none is known to be, it
// goes on from the series before, which is still known.
func (s *symbols) turn(to *series) {
	base := to.labels().Base()
	for _, known := range s.shapes[:s.known] {
		if known.base == base && known.adding != to.complete {
			s.shape = known
			return
		}
	}
	from := s.shape
	s.shape = s.place()
	s.base, s.adding = base, !to.complete
	switch {
	case from != nil && from.adding == s.adding:
		s.before, s.last = append(s.before, from.before...), from.last
	case s.adding:
		s.moved = true
		for i, l := range s.added {
			s.before = append(s.before, symbolized{Label: l.Label, added: i + 1})
		}
	default:
		s.moved = true
	}
}

// place is where a shape is to be known, an empty one. The one at hand is not it.
func (s *symbols) place() *shape {
	if s.known < mostShapes {
		if s.known == len(s.shapes) {
			s.shapes = append(s.shapes, &shape{})
		}
		s.known++
		return s.shapes[s.known-1]
	}
	if s.shapes[s.next] == s.shape {
		s.next = (s.next + 1) % mostShapes
	}
	old := s.shapes[s.next]
	s.next = (s.next + 1) % mostShapes
	old.forget()
	return old
}

// forget makes it empty, and keeps its memory.
func (h *shape) forget() {
	clear(h.before)
	*h = shape{before: h.before[:0]}
}

// turnTo makes before that of the series with a number, if it is the last one of
// its shape.
func (s *symbols) turnTo(number uint32) bool {
	if s.shape != nil && s.last == number {
		return true
	}
	for _, known := range s.shapes[:s.known] {
		if known.last == number {
			s.shape = known
			return true
		}
	}
	return false
}

// find returns where a label of a series is in before, from i on, and makes a
// place for it if there is none. What stands before it is left.
func (s *symbols) find(dst []byte, i int, name string) ([]byte, int) {
	for i < len(s.before) && s.before[i].Name < name {
		dst, i = s.leave(dst, i)
	}
	if i == len(s.before) || s.before[i].Name != name {
		s.moved = true
		s.before = slices.Insert(s.before, i, symbolized{Label: labels.Label{Name: name}})
	}
	return dst, i
}

// leave is for a label that a series has not: an added one comes to it, another
// is forgotten.
func (s *symbols) leave(dst []byte, i int) ([]byte, int) {
	b := &s.before[i]
	if b.added == 0 {
		s.moved = true
		s.before = slices.Delete(s.before, i, i+1)
		return dst, i
	}
	if b.own {
		s.moved = true
		b.own, b.Value, b.size = false, s.added[b.added-1].Value, 0
	}
	if b.size == 0 {
		s.refer(b)
	}
	return append(dst, b.refs[:b.size]...), i + 1
}

// give is for a label that a series has, with another value or for the first
// time.
func (s *symbols) give(i int, value string) {
	b := &s.before[i]
	switch {
	case b.added == 0:
		b.Value, b.size = value, 0
		s.changed = append(s.changed, i)
	case !s.added[b.added-1].force:
		b.Value, b.own, b.size = value, true, 0
		s.moved = true
	default:
	}
	if b.size == 0 {
		s.refer(b)
	}
}

// refer gives a label its references. They are new to the table only when they
// are written.
func (s *symbols) refer(b *symbolized) {
	if b.Value == "" && s.adding {
		return
	}
	if b.named == 0 {
		b.named = uint8(len(appendVarint(b.refs[:0], uint64(s.ref(b.Name)))))
	}
	b.size = uint8(len(appendVarint(b.refs[:b.named], uint64(s.ref(b.Value)))))
}
