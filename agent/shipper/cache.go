// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"strings"
	"unique"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

const (
	// cacheChunk series lie next to one another: refs are given out in turn. So
	// many fill the memory that the allocator has for them.
	cacheChunk = 67
	// Series are forgotten that had no point while so many times as many points
	// were read as there are series that had one; in sweeps as often as that. Were
	// those counted that are gone, each would be kept the longer the more are.
	// Time stamps may be anything, and a backlog is read faster than it was logged.
	// What comes back is looked up again.
	sweepAfter  = 4
	sweepsToGo  = 4
	fewestSwept = 16 * cacheChunk
	// metadataAge is how old known metadata may be, in seconds.
	metadataAge = 60
)

// seriesCache has the series of one generation of the log as they leave to one
// destination. It is for one goroutine.
type seriesCache struct {
	generation uint64
	chunks     map[uint64]*[cacheChunk]series
	resolver   *resolver
	hash       labels.ScratchBuilder // is memory for those of labels
	now        int64                 // in milliseconds, for metadata
	read       int                   // points since the last sweep
	alive      int                   // series that had a point between the two last sweeps
	swept      []uint32              // numbers of the windows at the last sweeps
	repeat     series                // stands for all points that are not sent a second time
}

func newSeriesCache() *seriesCache {
	return &seriesCache{
		chunks:   map[uint64]*[cacheChunk]series{},
		resolver: newResolver(),
		repeat:   series{dropped: true, stand: true},
	}
}

// enter forgets everything when the generation is another one: a ref means
// another series there.
func (c *seriesCache) enter(generation uint64) {
	if c.generation != generation {
		clear(c.chunks)
		c.generation = generation
	}
}

// lookup is where labels come from.
type lookup func(chunks.HeadSeriesRef) (logged.Series, bool)

// get returns the series of ref as it leaves by set, or nil when the log has no
// labels for it.
func (c *seriesCache) get(ref chunks.HeadSeriesRef, set *settings, find lookup) *series {
	at := uint64(ref) / cacheChunk
	chunk := c.chunks[at]
	if chunk == nil {
		chunk = new([cacheChunk]series)
		c.chunks[at] = chunk
	}
	s := &chunk[uint64(ref)%cacheChunk]
	if s.version == set.version && (!set.wantsMetadata() || c.seconds()-s.looked < metadataAge) {
		return s
	}
	known, ok := find(ref)
	switch {
	case !ok && s.version == 0:
		return nil
	case !ok: // Forgotten there; what is known here is as good.
		known = logged.Series{Labels: s.logged, Metadata: s.metadata}
	case s.version == 0:
		s.newest, s.logged, s.name = math.MinInt64, known.Labels, known.Labels.Hash(&c.hash)
	}
	s.metadata, s.looked = plausible(known), c.seconds()
	set.resolve(s, c.resolver)
	return s
}

// seconds is now, for metadata; it begins again every 18 hours. The difference to
// a later time is large, so that what was looked up before a clock was set back is
// looked up again.
func (c *seriesCache) seconds() uint16 { return uint16(c.now / 1000) }

// plausible is the metadata of a series, without a unit that the name does not
// end in: OpenMetrics has none like that, but the agent says of up that its unit
// is targets.
func plausible(s logged.Series) unique.Handle[metadata.Metadata] {
	if metadata.IsZeroHandle(s.Metadata) {
		return s.Metadata
	}
	m := s.Metadata.Value()
	if m.Unit == "" {
		return s.Metadata
	}
	name := family(s.Labels.Get(model.MetricNameLabel), m.Type)
	for _, suffix := range []string{"", "_total", "_created", "_info"} {
		if short, ok := strings.CutSuffix(name, suffix); ok && strings.HasSuffix(short, "_"+m.Unit) {
			return s.Metadata
		}
	}
	m.Unit = ""
	return unique.Make(m)
}

// sweep forgets, now and then, series that had no point for long. It is called
// after each window with its number and points.
func (c *seriesCache) sweep(window uint32, points int) {
	c.read += points
	if c.read < sweepAfter*max(c.alive, fewestSwept) {
		return
	}
	c.read, c.alive = 0, 0
	last, forgotten := uint32(0), uint32(0)
	if n := len(c.swept); n > 0 {
		last = c.swept[n-1]
	}
	c.swept = append(c.swept, window)
	if len(c.swept) > sweepsToGo {
		c.swept = c.swept[1:]
		forgotten = c.swept[0]
	}
	c.resolver.packer.Reset() // What it remembers may be gone.
	for at, chunk := range c.chunks {
		kept := false
		for i := range chunk {
			switch s := &chunk[i]; {
			case s.version == 0:
			case s.window <= forgotten:
				*s = series{}
			default:
				kept = true
				if s.window > last {
					c.alive++
				}
			}
		}
		if !kept {
			delete(c.chunks, at)
		}
	}
}
