// SPDX-License-Identifier: Apache-2.0

package shipper

import "strings"

const (
	// mostChanged labels may have other values than those of the series before;
	// seldom more have: the name and one.
	mostChanged = 2
	noLabel     = 0xff
	// bookSize bounds the values that a book has, and longestValue each. Where most
	// series have values of their own it is of no use.
	bookSize     = 1 << 14
	longestValue = 256
	// A book that had no place so often is likely to be full of what is gone.
	mostMissed = 1 << 19
)

// step is how the labels of a series differ from those of the one before it, of
// its shape: in scrape after scrape the same series follow one another. With it most series
// are written without a look at their labels. It is of the encoder that wrote
// the series last; the zero value is none.
type step struct {
	number uint32              // with high the number of the series, which tells the book, too
	from   uint32              // number of the one before, without its high; 0 when it differs in more
	values [mostChanged]uint16 // of the book
	at     [mostChanged]uint8  // which labels have those; noLabel
	high   uint16
}

// whole is the number of the series; 0 is none.
func (s *step) whole() uint64 { return uint64(s.high)<<32 | uint64(s.number) }

// book numbers the series that one encoder has written, and the values by which
// they differed.
type book struct {
	numbers *uint64 // as encodeOptions has it
	after   uint64  // its own are larger
	ids     map[string]uint16
	values  []bookValue
	missed  int // values that had no place
}

type bookValue struct {
	text    string
	request uint32 // the last one that had it
	ref     uint32 // in that one's table
}

func newBook(numbers *uint64) *book {
	return &book{numbers: numbers, after: *numbers, ids: map[string]uint16{}}
}

// worn says whether it is time for a new one. All numbers of one differ in what
// from has of them.
func (b *book) worn() bool { return *b.numbers-b.after > 1<<31 || b.missed > mostMissed }

// has says whether it gave that number.
func (b *book) has(number uint64) bool { return number > b.after }

// number gives the next one, of those that are not 0 in what from has of them.
func (b *book) number() step {
	if *b.numbers++; uint32(*b.numbers) == 0 {
		*b.numbers++
	}
	return step{number: uint32(*b.numbers), high: uint16(*b.numbers >> 32)}
}

// id is the number of a value; false when there is no place for it.
func (b *book) id(value string) (uint16, bool) {
	id, ok := b.ids[value]
	switch {
	case ok || len(value) > longestValue:
	case len(b.values) < bookSize:
		id, ok = uint16(len(b.values)), true
		value = strings.Clone(value) // It is a part of the labels of a series.
		b.ids[value] = id
		b.values = append(b.values, bookValue{text: value})
	default:
		b.missed++
	}
	return id, ok
}

// follow makes before that of a series, if that is known to follow the one that
// was written last, or the last one of another shape.
func (s *symbols) follow(to *step) bool {
	if s.book == nil || to.from == 0 || !s.book.has(to.whole()) || !s.turnTo(to.from) {
		return false
	}
	for i, at := range to.at {
		if at == noLabel {
			break
		}
		v, b := &s.book.values[to.values[i]], &s.before[at]
		if v.request != s.request {
			v.request, v.ref = s.request, s.ref(v.text)
		}
		b.Value = v.text
		b.size = uint8(len(appendVarint(b.refs[:b.named], uint64(v.ref))))
	}
	s.last = to.number
	return true
}

// remember keeps how a series followed the one before it.
func (s *symbols) remember(to *step) {
	if s.book == nil {
		return
	}
	if !s.book.has(to.whole()) {
		*to = s.book.number()
	}
	from := s.last
	s.last, to.from = to.number, 0
	if s.moved || len(s.changed) > mostChanged {
		return
	}
	to.at = [mostChanged]uint8{noLabel, noLabel}
	for i, at := range s.changed {
		id, ok := s.book.id(s.before[at].Value)
		if !ok || at >= noLabel {
			return
		}
		to.at[i], to.values[i] = uint8(at), id
	}
	to.from = from
}
