// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"testing"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
)

// TestSeriesIsSmall: there is one for each series of the log and destination. Over 96 bytes a chunk of them takes the
// next size of the allocator.
func TestSeriesIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(series{}); size > 96 {
		t.Errorf("a series takes %d bytes, want 96 at most", size)
	}
}

// TestForm: what a series leaves as is forgotten when it leaves as it was logged again, and a classic form stays.
func TestForm(t *testing.T) {
	logged, other := labels.FromStrings("__name__", "a"), labels.FromStrings("__name__", "b")
	for _, classic := range []bool{false, true} {
		s := &series{logged: logged}
		if classic {
			s.toClassic().bounds = []float64{1}
		}
		s.leaveAs(other)
		if !s.complete || !labels.Equal(s.labels(), other) {
			t.Errorf("it leaves as %s, complete %v", s.labels(), s.complete)
		}
		s.leaveAsLogged()
		if s.complete || !labels.Equal(s.labels(), logged) || (s.form != nil) != classic {
			t.Errorf("after that it leaves as %s, complete %v, with the form %v", s.labels(), s.complete, s.form)
		}
		if form := s.classic(); classic && (form == nil || len(form.bounds) != 1) {
			t.Errorf("the classic form is %v", form)
		}
	}
}
