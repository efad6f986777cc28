// SPDX-License-Identifier: Apache-2.0

package shipper

// placesAtOnce series fill the memory that the allocator has for them.
const placesAtOnce = 102

// nursery has the memory of the series of a window. What a window larger than
// others took is given back little by little.
type nursery struct {
	chunks []*cachedChunk         // those with series of the window
	spare  []*[cacheChunk]*series // empty
	places []*[placesAtOnce]series
	taken  int // of places
}

// open makes room for series of a chunk.
func (n *nursery) open(k *cachedChunk) {
	if k.awake != nil {
		return
	}
	if last := len(n.spare) - 1; last >= 0 {
		k.awake, n.spare = n.spare[last], n.spare[:last]
	} else {
		k.awake = new([cacheChunk]*series)
	}
	n.chunks = append(n.chunks, k)
}

// place is memory for a series, all zero.
func (n *nursery) place() *series {
	at := n.taken / placesAtOnce
	if at == len(n.places) {
		n.places = append(n.places, new([placesAtOnce]series))
	}
	s := &n.places[at][n.taken%placesAtOnce]
	n.taken++
	return s
}

// empty takes back all memory.
func (n *nursery) empty() {
	opened, used := len(n.chunks), (n.taken+placesAtOnce-1)/placesAtOnce
	for _, k := range n.chunks {
		clear(k.awake[:])
		n.spare = append(n.spare, k.awake)
		k.awake = nil
	}
	clear(n.chunks)
	for _, p := range n.places[:used] {
		*p = [placesAtOnce]series{}
	}
	n.taken = 0
	n.spare = lessen(n.spare, opened)
	n.places = lessen(n.places, used)
	if n.chunks = n.chunks[:0]; cap(n.chunks) > 4*opened+placesAtOnce {
		n.chunks = nil
	}
}

// lessen gives some of what was not used back, unless that is little.
func lessen[T any](all []*T, used int) []*T {
	n := len(all) - (len(all)-used)/32
	clear(all[n:])
	return all[:n]
}
