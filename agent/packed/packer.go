// SPDX-License-Identifier: Apache-2.0

package packed

import (
	"encoding/binary"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// manyBases are as many as a Packer remembers at most.
	manyBases = 1 << 12
	// keptBytes are as much memory as it keeps to work in.
	keptBytes = 1 << 14
)

// Packer packs labels as they come. It finds those that are like one another when they are given one soon after the other,
// as the series of one target are. The zero value is ready. It is for one goroutine; what it has packed is not.
type Packer struct {
	// Dictionary is that of others, too; nil for none.
	Dictionary *Dictionary

	bases  map[uint64]*labels.Labels // by a hash of all labels but the name of the metric
	newest map[string]*labels.Labels // of them, by the names of their labels

	own   []labels.Label
	names []byte // each with its length before it
	diff  []byte
	hash  []byte
}

// Pack returns ls in packed form. It may keep ls, or have others keep it.
func (p *Packer) Pack(ls labels.Labels) Labels {
	if ls.IsEmpty() {
		return Labels{}
	}
	p.trim()
	p.own, p.names = p.own[:0], p.names[:0]
	ls.Range(func(l labels.Label) {
		p.own = append(p.own, l)
		p.names = append(binary.AppendUvarint(p.names, uint64(len(l.Name))), l.Name...)
	})
	var rest uint64
	rest, p.hash = ls.HashWithoutLabels(p.hash)
	for _, alike := range [...]*labels.Labels{p.bases[rest], p.newest[string(p.names)]} {
		if alike != nil && p.differs(alike, ls) {
			return Labels{&set{alike, p.Dictionary.learn(p.diff)}}
		}
	}
	base := new(labels.Labels) // Not &ls, which would be memory for each that is packed.
	*base = ls
	if p.bases == nil || len(p.bases) >= manyBases {
		p.bases, p.newest = map[uint64]*labels.Labels{}, map[string]*labels.Labels{}
	}
	p.bases[rest], p.newest[string(p.names)] = base, base
	return Labels{&set{base: base}}
}

// Reset forgets all that was packed, and keeps little memory.
func (p *Packer) Reset() {
	p.bases, p.newest, p.own = nil, nil, nil
	p.trim()
}

// trim lets go of what one large set of labels took.
func (p *Packer) trim() {
	if cap(p.hash)+cap(p.diff)+cap(p.names) > keptBytes {
		p.hash, p.diff, p.names = nil, nil, nil
	}
}

// differs makes diff of where ls has other values than base. It says whether it has the same names, and diff is worth it.
func (p *Packer) differs(base *labels.Labels, ls labels.Labels) bool {
	p.diff = p.diff[:0]
	i, same := 0, base.Len() == len(p.own)
	base.Range(func(b labels.Label) {
		if same = same && p.own[i].Name == b.Name; !same {
			return
		}
		if own := p.own[i].Value; own != b.Value {
			p.diff = binary.AppendUvarint(p.diff, uint64(i))
			p.diff = binary.AppendUvarint(p.diff, uint64(len(own)))
			p.diff = append(p.diff, own...)
		}
		i++
	})
	return same && uint64(len(p.diff)) <= ls.ByteSize()/2
}
