// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

const (
	// cacheChunk series lie next to one another: refs are given out in turn.
	cacheChunk = 64
	// cacheIdle is how long, in milliseconds of log time, a series may have had
	// no point before it is forgotten. It is looked up again when it comes back.
	cacheIdle = 30 * 60 * 1000
	// metadataAge is how old known metadata may be, in the same milliseconds.
	metadataAge = 60 * 1000
)

// seriesCache has the series of one generation of the log as they leave to one
// destination. It is for one goroutine.
type seriesCache struct {
	generation uint64
	chunks     map[uint64]*[cacheChunk]series
	builder    *labels.Builder
	swept      int64
	unknown    series // stands for all that the log has no labels of
}

func newSeriesCache() *seriesCache {
	return &seriesCache{
		chunks:  map[uint64]*[cacheChunk]series{},
		builder: labels.NewBuilder(labels.EmptyLabels()),
		unknown: series{dropped: true},
	}
}

// enter forgets everything when the generation is another one: a ref means
// another series there.
func (c *seriesCache) enter(generation uint64) {
	if c.generation != generation {
		clear(c.chunks)
		c.generation, c.swept = generation, math.MinInt64
	}
}

// lookup is where labels come from.
type lookup func(chunks.HeadSeriesRef) (logged.Series, bool)

// get returns the series of ref as it leaves by set, or nil when the log has no
// labels for it. t is the timestamp of the point that needs it.
func (c *seriesCache) get(ref chunks.HeadSeriesRef, t int64, set *settings, find lookup) *series {
	at := uint64(ref) / cacheChunk
	chunk := c.chunks[at]
	if chunk == nil {
		chunk = new([cacheChunk]series)
		c.chunks[at] = chunk
	}
	s := &chunk[uint64(ref)%cacheChunk]
	if s.version == set.version && (!set.v2 || t-s.looked < metadataAge) {
		return s
	}
	known, ok := find(ref)
	if !ok {
		return nil
	}
	if s.version == 0 {
		s.ref, s.newest, s.logged = ref, math.MinInt64, known.Labels
	}
	s.metadata, s.looked = known.Metadata, t
	set.resolve(s, c.builder)
	return s
}

// sweep forgets, now and then, series that had no point for long; newest is the
// newest timestamp that was read.
func (c *seriesCache) sweep(newest int64) {
	if newest < c.swept+cacheIdle/4 {
		return
	}
	c.swept = newest
	for at, chunk := range c.chunks {
		idle := true
		for i := range chunk {
			idle = idle && (chunk[i].version == 0 || chunk[i].newest < newest-cacheIdle)
		}
		if idle {
			delete(c.chunks, at)
		}
	}
}
