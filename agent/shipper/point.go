// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"unique"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"torchbearer/agent/packed"
)

// point is one thing to send: a sample, a histogram, or an exemplar.
type point struct {
	series *series
	t, st  int64   // milliseconds since the epoch; st is 0 when there is none
	v      float64 // of a sample
	other  *other  // nil for a sample
}

// other is what is not a sample; one of the fields is set.
type other struct {
	histogram      *histogram.Histogram
	floatHistogram *histogram.FloatHistogram
	exemplar       *exemplar.Exemplar
}

func (p *point) isExemplar() bool  { return p.other != nil && p.other.exemplar != nil }
func (p *point) isHistogram() bool { return p.other != nil && p.other.exemplar == nil }

// series is a series of the log as it leaves to one destination, for as long as a
// window has points of it.
type series struct {
	outcome

	logged   packed.Labels
	metadata unique.Handle[metadata.Metadata] // may be zero

	// What follows is for reading the log, not for encoding.
	name   uint64 // hash of logged; 0 when nobody asked for it
	newest int64  // timestamp of the last point read

	window   uint32 // the number of the one that it had a point in last
	last     int32  // index of that point
	grouping uint32 // and rank are for group, and tell same

	stand bool // it stands for something that is not sent
	part  bool // its points are of a histogram that counts by another series

	step step // is for encoding, by whoever does it
}

// outcome is how a series leaves by the settings of a version.
type outcome struct {
	form    *form  // nil if it leaves as it was logged
	rank    int32  // for group; of what is dropped, which is never grouped, by which rule
	version uint16 // of the settings; 0 is none

	// complete labels are final; to others the labels that the destination adds
	// come while encoding.
	complete bool
	dropped  bool // by write_relabel_configs
}

// form is how a series leaves that does not, or not always, as it was logged. Few
// have one.
type form struct {
	labels  packed.Labels // of a series that is complete
	classic *classicForm  // nil if it never had a histogram to convert
}

// labels are those that it leaves with; more come while encoding unless it is
// complete.
func (s *series) labels() packed.Labels {
	if s.complete {
		return s.form.labels
	}
	return s.logged
}

// leaveAs makes these the final labels.
func (s *series) leaveAs(ls packed.Labels) {
	s.formed().labels, s.complete = ls, true
}

// leaveAsLogged takes back leaveAs.
func (s *series) leaveAsLogged() {
	if !s.complete {
		return
	}
	s.form.labels, s.complete = packed.Labels{}, false
	if s.form.classic == nil {
		s.form = nil
	}
}

// classic is nil if it never had a histogram to convert.
func (s *series) classic() *classicForm {
	if s.form == nil {
		return nil
	}
	return s.form.classic
}

// toClassic makes classic if it is not there.
func (s *series) toClassic() *classicForm {
	f := s.formed()
	if f.classic == nil {
		f.classic = &classicForm{}
	}
	return f.classic
}

func (s *series) formed() *form {
	if s.form == nil {
		s.form = &form{}
	}
	return s.form
}

// same says whether two are one series of the log, which gives it another ref
// when it comes back after it was forgotten. That is known of those that were
// grouped together; others are taken for two then.
func (s *series) same(o *series) bool {
	return s == o || s.grouping != 0 && s.grouping == o.grouping && s.rank == o.rank
}

// alike says whether two were logged with the same labels.
func (s *series) alike(o *series) bool {
	return !s.logged.IsEmpty() && packed.Equal(s.logged, o.logged)
}

// hash is that of the labels that it was logged with. It is for one goroutine.
func (s *series) hash(b *labels.ScratchBuilder) uint64 {
	if s.name == 0 {
		s.name = s.logged.Hash(b)
	}
	return s.name
}

// addedLabel is an external label of the agent.
type addedLabel struct {
	labels.Label

	force bool // also where the series has one of that name
}
