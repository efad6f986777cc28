// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/metadata"
)

// Total is the number of samples and histograms that were kept, repetitions included.
func (r *Receiver) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.book.samples
}

// Distinct is the number of different (series, timestamp) pairs.
func (r *Receiver) Distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.book.series {
		n += len(s.Points)
	}
	return n
}

// Duplicates is how many samples came more than once, each repetition counted.
func (r *Receiver) Duplicates() int { return r.Total() - r.Distinct() }

// Disorder is how many samples came after a younger one of the same series.
func (r *Receiver) Disorder() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.book.disorder
}

// Requests is the number of requests that came, whatever they were answered.
func (r *Receiver) Requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// Protocols is how many well-formed requests came of each message.
func (r *Receiver) Protocols() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.protocols)
}

// Malformed lists what was wrong with the requests that could not be decoded.
func (r *Receiver) Malformed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.malformed)
}

// Families is the metadata that came by metric family (remote write 1.0).
func (r *Receiver) Families() map[string]metadata.Metadata {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.book.families)
}

// Match returns the series that have all these label values, ordered by their labels: pairs of name and value,
// where an empty value stands for a label that is not there. The result is the caller's.
func (r *Receiver) Match(pairs ...string) []Series {
	if len(pairs)%2 != 0 {
		panic("receiver: Match takes pairs of label name and value")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Series
	for _, key := range slices.Sorted(maps.Keys(r.book.series)) {
		s := r.book.series[key]
		if matches(s, pairs) {
			found = append(found, Series{
				Labels: s.Labels, Metadata: s.Metadata,
				Points: slices.Clone(s.Points), Exemplars: slices.Clone(s.Exemplars),
			})
		}
	}
	return found
}

func matches(s *Series, pairs []string) bool {
	for i := 0; i < len(pairs); i += 2 {
		if s.Labels.Get(pairs[i]) != pairs[i+1] {
			return false
		}
	}
	return true
}

// EverySeriesHas returns an error that names a series without this value of the label, or one when nothing has
// come at all.
func (r *Receiver) EverySeriesHas(label, value string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.book.series) == 0 {
		return errors.New("nothing has been received")
	}
	for key, s := range r.book.series {
		if got := s.Labels.Get(label); got != value {
			return fmt.Errorf("series %s has %s=%q, not %q", key, label, got, value)
		}
	}
	return nil
}
