// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"slices"
	"unique"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
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
	// the series before save most look-ups.
	before []symbolized
	// The series of a family follow one another too.
	metadata unique.Handle[metadata.Metadata]
	family   familyRefs
}

type symbolized struct {
	labels.Label

	name, value uint32
}

// begin starts a table behind dst. The first string of each is the empty one.
func (s *symbols) begin(dst []byte) {
	if s.refs == nil {
		s.refs = map[string]uint32{}
	}
	s.count = 1
	s.table = appendString(dst, tagSymbols, "")
}

// end gives the table and lets go of all strings.
func (s *symbols) end() []byte {
	table := s.table
	if s.count > keepSymbols {
		s.refs = nil
	}
	clear(s.refs)
	clear(s.before)
	*s = symbols{refs: s.refs, before: s.before[:0]}
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

// appendSeriesRefs appends the references to names and values of the labels of
// a series.
func (s *symbols) appendSeriesRefs(dst []byte, ls []labels.Label) []byte {
	for i, l := range ls {
		for i < len(s.before) && s.before[i].Name != l.Name && s.before[i].Name < l.Name {
			s.before = slices.Delete(s.before, i, i+1)
		}
		switch {
		case i == len(s.before) || s.before[i].Name != l.Name:
			s.before = slices.Insert(s.before, i, symbolized{Label: l, name: s.ref(l.Name), value: s.ref(l.Value)})
		case s.before[i].Value != l.Value:
			s.before[i].Value, s.before[i].value = l.Value, s.ref(l.Value)
		}
		dst = appendVarint(dst, uint64(s.before[i].name))
		dst = appendVarint(dst, uint64(s.before[i].value))
	}
	clear(s.before[len(ls):])
	s.before = s.before[:len(ls)]
	return dst
}
