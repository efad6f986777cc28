// SPDX-License-Identifier: Apache-2.0

package room

import (
	"math"
	"runtime/metrics"
)

// usage is what Go's runtime knows of the memory of the process, in bytes.
type usage struct {
	limit int64  // GOMEMLIMIT, 0 is none
	live  int64  // what the last collection left
	other int64  // what is not the heap: stacks, tables of the runtime
	cycle uint64 // how many collections there were
}

// The runtime's metrics, in the order of runtime.samples.
const (
	indexLimit = iota
	indexCycle
	indexLive
	indexTotal
	indexReleased // The heap is this and the rest.
	indexFree
	indexObjects
	indexUnused
)

// runtime reads the metrics of Go's runtime. It is for one goroutine at a time.
type runtime struct{ samples []metrics.Sample }

func newRuntime() *runtime {
	r := &runtime{}
	for _, name := range []string{
		"/gc/gomemlimit:bytes", "/gc/cycles/total:gc-cycles", "/gc/heap/live:bytes", "/memory/classes/total:bytes",
		"/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes",
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes",
	} {
		r.samples = append(r.samples, metrics.Sample{Name: name})
	}
	return r
}

func (r *runtime) read() usage {
	metrics.Read(r.samples)
	limit := r.value(indexLimit)
	if limit == math.MaxInt64 {
		limit = 0
	}
	heap := int64(0)
	for i := indexReleased; i <= indexUnused; i++ {
		heap += r.value(i)
	}
	return usage{limit: limit, live: r.value(indexLive), other: max(r.value(indexTotal)-heap, 0), cycle: uint64(r.value(indexCycle))}
}

// value is 0 for what this version of Go does not tell.
func (r *runtime) value(index int) int64 {
	v := r.samples[index].Value
	if v.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(min(v.Uint64(), math.MaxInt64))
}
