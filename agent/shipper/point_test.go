// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

// TestRestingSeriesIsSmall: there is one for each series of the log and destination, and the allocator has memory of some
// sizes only.
func TestRestingSeriesIsSmall(t *testing.T) {
	const n = 1000
	chunks := make([]*cachedChunk, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range chunks {
		chunks[i] = new(cachedChunk)
	}
	runtime.ReadMemStats(&after)
	if size := float64(after.TotalAlloc-before.TotalAlloc) / n / cacheChunk; size > 26 {
		t.Errorf("a series takes %.1f bytes, of which it uses %d; want 26 at most", size, unsafe.Sizeof(restingSeries{}))
	}
	runtime.KeepAlive(chunks)
}

// TestForm: what a series leaves as is forgotten when it leaves as it was logged again, and a classic form stays.
func TestForm(t *testing.T) {
	logged, other := labels.FromStrings("__name__", "a"), labels.FromStrings("__name__", "b")
	for _, classic := range []bool{false, true} {
		s := &series{logged: packed.Of(logged)}
		if classic {
			s.toClassic().bounds = []float64{1}
		}
		s.leaveAs(packed.Of(other))
		if !s.complete || !labels.Equal(s.labels().Labels(), other) {
			t.Errorf("it leaves as %s, complete %v", s.labels(), s.complete)
		}
		s.leaveAsLogged()
		if s.complete || !labels.Equal(s.labels().Labels(), logged) || (s.form != nil) != classic {
			t.Errorf("after that it leaves as %s, complete %v, with the form %v", s.labels(), s.complete, s.form)
		}
		if form := s.classic(); classic && (form == nil || len(form.bounds) != 1) {
			t.Errorf("the classic form is %v", form)
		}
	}
}
