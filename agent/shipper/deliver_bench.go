// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"sync"

	"github.com/klauspost/compress/snappy"
)

const (
	// maxBodies are kept for the next requests.
	maxBodies = 4
	// maxKept is the largest buffer that is kept.
	maxKept = 4 << 20
)

// bench is what requests are made on, one after another: that takes far less time
// than an answer, and much more memory than what is sent. One encoder for all
// knows how series followed one another. It may be used concurrently.
type bench struct {
	mu      sync.Mutex // guards the fields below
	set     *settings
	v2      bool
	encoder encoder
	numbers uint64 // for all encoders
	plain   []byte
	packed  []byte
}

// encode returns the compressed message, in the memory of body if that is enough,
// and how many exemplars it could not take.
func (b *bench) encode(set *settings, v2 bool, points []point, body []byte) (made []byte, leftOut int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.encoder == nil || b.set != set || b.v2 != v2 {
		opts := set.encode
		opts.numbers = &b.numbers
		b.set, b.v2, b.encoder = set, v2, newEncoder(v2, opts)
	}
	b.plain = b.encoder.encode(b.plain[:0], points)
	if n := snappy.MaxEncodedLen(len(b.plain)); cap(b.packed) < n {
		b.packed = make([]byte, n)
	}
	body = append(body[:0], snappy.Encode(b.packed[:cap(b.packed)], b.plain)...)
	if cap(b.plain) > maxKept {
		b.plain = nil
	}
	if cap(b.packed) > maxKept {
		b.packed = nil
	}
	return body, b.encoder.exemplarsLeftOut()
}

// takeBody returns memory for what is sent, or nil.
func (s *sender) takeBody() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.bodies)
	if n == 0 {
		return nil
	}
	body := s.bodies[n-1]
	s.bodies = s.bodies[:n-1]
	return body
}

func (s *sender) giveBody(body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies) < maxBodies && cap(body) <= maxKept {
		s.bodies = append(s.bodies, body)
	}
}
