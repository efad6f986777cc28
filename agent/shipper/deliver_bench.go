// SPDX-License-Identifier: Apache-2.0

package shipper

import "github.com/klauspost/compress/snappy"

const (
	// maxBenches are kept for the next requests.
	maxBenches = 4
	// maxBenchBytes is the largest buffer that is kept.
	maxBenchBytes = 4 << 20
)

// bench is what one request is made on. It is for one goroutine.
type bench struct {
	set     *settings
	v2      bool
	encoder encoder
	plain   []byte
	packed  []byte
}

func (s *sender) takeBench() *bench {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.benches); n > 0 {
		b := s.benches[n-1]
		s.benches = s.benches[:n-1]
		return b
	}
	return &bench{}
}

func (s *sender) giveBench(b *bench) {
	if cap(b.plain) > maxBenchBytes {
		b.plain = nil
	}
	if cap(b.packed) > maxBenchBytes {
		b.packed = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.benches) < maxBenches {
		s.benches = append(s.benches, b)
	}
}

// encode returns the compressed message, which is good until the next call, and
// how many exemplars it could not take.
func (b *bench) encode(set *settings, v2 bool, points []point) (body []byte, leftOut int) {
	if b.encoder == nil || b.set != set || b.v2 != v2 {
		b.set, b.v2, b.encoder = set, v2, newEncoder(v2, set.encode)
	}
	b.plain = b.encoder.encode(b.plain[:0], points)
	if n := snappy.MaxEncodedLen(len(b.plain)); cap(b.packed) < n {
		b.packed = make([]byte, n)
	}
	return snappy.Encode(b.packed[:cap(b.packed)], b.plain), b.encoder.exemplarsLeftOut()
}
