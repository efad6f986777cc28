// SPDX-License-Identifier: Apache-2.0

// Package packed keeps the labels of many series in little memory: those of a series as how they differ from those of a
// similar one, which is most of a few dozen bytes in place of some hundred.
//
// Nothing of it is lost, labels are as they were put in, in the order in which they stood. It owns no memory of others, and
// knows nothing of what series are for.
package packed

import (
	"encoding/binary"
	"errors"

	"github.com/prometheus/prometheus/model/labels"
)

// ErrNeeded is the answer to a sample that came without labels, of a series that its ref does not tell any more.
var ErrNeeded = errors.New("the labels of the series are needed")

// Labels are the labels of a series. They are as large as a pointer, never change, and may be used concurrently. The zero
// value has none. Two of them that are == are equal; for others ask Equal.
type Labels struct {
	set *set
}

// set is base with other values for some of its labels. Many share a base.
type set struct {
	base *labels.Labels
	// other has, of each label with another value, in their order: which one it is, how long the value is, both as uvarint,
	// and the value. nil is that none has.
	other *word
}

// Of are labels that are like no others. It keeps ls.
func Of(ls labels.Labels) Labels {
	if ls.IsEmpty() {
		return Labels{}
	}
	return Labels{&set{base: &ls}}
}

// Base stands for what labels have in common: two that have the same one, and are not empty, have the same names in the same
// order. It can be compared, and keeps that memory.
type Base struct{ labels *labels.Labels }

// Base is that of the labels.
func (l Labels) Base() Base {
	if l.set == nil {
		return Base{}
	}
	return Base{l.set.base}
}

// IsEmpty says whether there is none.
func (l Labels) IsEmpty() bool { return l.set == nil }

// Range calls f for each label, in order. The strings are valid for ever and keep what they are part of.
func (l Labels) Range(f func(labels.Label)) {
	if l.set == nil {
		return
	}
	others := l.others()
	i := 0
	l.set.base.Range(func(label labels.Label) {
		if i == others.at {
			label.Value = others.value
			others.next()
		}
		i++
		f(label)
	})
}

// plain are the labels where they need not be unpacked.
func (l Labels) plain() (ls labels.Labels, ok bool) {
	switch {
	case l.set == nil:
		return labels.EmptyLabels(), true
	case l.set.other == nil:
		return *l.set.base, true
	}
	return labels.EmptyLabels(), false
}

// Get is the value of the label of that name, "" if there is none.
func (l Labels) Get(name string) string {
	if ls, ok := l.plain(); ok {
		return ls.Get(name)
	}
	value := ""
	l.Range(func(label labels.Label) {
		if label.Name == name {
			value = label.Value
		}
	})
	return value
}

// Labels are the same, unpacked. It allocates them.
func (l Labels) Labels() labels.Labels {
	if ls, ok := l.plain(); ok {
		return ls
	}
	b := labels.NewScratchBuilder(l.set.base.Len())
	return l.With(&b)
}

// With is Labels, for which only the labels are allocated.
func (l Labels) With(b *labels.ScratchBuilder) labels.Labels {
	if ls, ok := l.plain(); ok {
		return ls
	}
	l.fill(b)
	return b.Labels()
}

// Hash is that of Labels. It does not allocate but for what b keeps.
func (l Labels) Hash(b *labels.ScratchBuilder) uint64 {
	ls, ok := l.plain()
	if !ok {
		l.fill(b)
		b.Overwrite(&ls)
	}
	return ls.Hash()
}

func (l Labels) fill(b *labels.ScratchBuilder) {
	b.Reset()
	l.Range(func(label labels.Label) { b.Add(label.Name, label.Value) })
}

// Are says whether they are equal to ls. It does not allocate, but where there are very many labels.
func (l Labels) Are(ls labels.Labels) bool {
	if plain, ok := l.plain(); ok {
		return labels.Equal(plain, ls)
	}
	if l.set.base.Len() != ls.Len() {
		return false
	}
	var few [32]labels.Label
	all := few[:0]
	ls.Range(func(label labels.Label) { all = append(all, label) })
	return l.areAll(all)
}

// areAll is for as many labels as there are.
func (l Labels) areAll(all []labels.Label) bool {
	i, equal := 0, true
	l.Range(func(label labels.Label) {
		equal = equal && label == all[i]
		i++
	})
	return equal
}

// Equal says whether a and b have the same labels. It does not allocate, but where there are very many labels.
func Equal(a, b Labels) bool {
	switch {
	case a.set == b.set:
		return true
	case a.set == nil || b.set == nil:
		return false
	case a.set.base == b.set.base:
		return a.set.other == b.set.other || a.set.other.text() == b.set.other.text()
	}
	n := a.set.base.Len()
	if n != b.set.base.Len() {
		return false
	}
	var few [32]labels.Label
	all := few[:0]
	b.Range(func(l labels.Label) { all = append(all, l) })
	return a.areAll(all)
}

// String implements fmt.Stringer, as labels.Labels does.
func (l Labels) String() string { return l.Labels().String() }

// others walks through the labels that have another value.
type others struct {
	rest  string
	at    int // which label is next; -1 is none
	value string
}

func (l Labels) others() others {
	o := others{rest: l.set.other.text()}
	o.next()
	return o
}

func (o *others) next() {
	if o.rest == "" {
		o.at, o.value = -1, ""
		return
	}
	o.at = int(o.number())
	n := o.number()
	o.value, o.rest = o.rest[:n], o.rest[n:]
}

// number reads a uvarint.
func (o *others) number() uint64 {
	if o.rest[0] < 0x80 {
		n := uint64(o.rest[0])
		o.rest = o.rest[1:]
		return n
	}
	n, size := binary.Uvarint([]byte(o.rest[:min(len(o.rest), binary.MaxVarintLen64)]))
	o.rest = o.rest[size:]
	return n
}
