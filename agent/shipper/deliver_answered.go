// SPDX-License-Identifier: Apache-2.0

package shipper

// pointKey names a point for as long as its window is being shipped.
type pointKey struct {
	series   *series
	t        int64
	exemplar bool
}

// maxAnswered bounds how many points are remembered as answered.
const maxAnswered = 1 << 20

func (s *sender) remember(points []pointKey) {
	if len(points) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered == nil || len(s.answered)+len(points) > maxAnswered {
		s.answered = map[pointKey]struct{}{}
	}
	for _, key := range points {
		s.answered[key] = struct{}{}
	}
}

// forget forgets all of it, once a window is answered.
func (s *sender) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = nil
}

// unanswered takes out what a request that was replaced has settled.
func (s *sender) unanswered(points []point) []point {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answered) == 0 {
		return points
	}
	left := points[:0]
	for _, p := range points {
		key := p.key()
		if _, ok := s.answered[key]; ok {
			continue // It stays: the settings may be replaced once more.
		}
		left = append(left, p)
	}
	return left
}

func (p *point) key() pointKey {
	return pointKey{series: p.series, t: p.t, exemplar: p.isExemplar()}
}
