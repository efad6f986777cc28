// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math"
	"math/bits"

	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

const (
	// cacheChunk series lie next to one another: refs are given out in turn. So
	// many fill the memory that the allocator has for them; 64 at most.
	cacheChunk = 62
	// Series are forgotten that had no point while so many times as many points
	// were read as there are series that had one; in sweeps as often as that. Were
	// those counted that are gone, each would be kept the longer the more are.
	// Time stamps may be anything, and a backlog is read faster than it was logged.
	sweepAfter  = 4
	sweepsToGo  = 3
	fewestSwept = 16 * cacheChunk
)

// seriesCache has the series of one generation of the log as they leave to one
// destination: those of the window at hand, and what is to be known of others
// when they have a point again. It is for one goroutine.
type seriesCache struct {
	generation uint64
	chunks     map[uint64]*cachedChunk
	at         uint64       // number of
	chunk      *cachedChunk // the one that was asked for last
	awake      nursery
	window     uint32 // number of the one at hand
	ruled      bool   // rules make of series what they leave as

	resolver *resolver
	read     int    // points since the last sweep
	alive    int    // series that had a point between the two last sweeps
	repeat   series // stands for all points that are not sent a second time
}

// cachedChunk has what is known of series with neighbouring refs.
type cachedChunk struct {
	resting [cacheChunk]restingSeries
	had     [sweepsToGo]uint64   // which had a point since the last sweep, since the one before it, …
	formed  *[cacheChunk]outcome // nil if none has a form, and there are no rules
	awake   *[cacheChunk]*series // those of the window at hand; nil is none
}

// restingSeries is what is known of a series while no window has it. The zero
// value is of one that never had a point.
type restingSeries struct {
	newest uint64 // timestamp of the last point read, from the lowest there is
	step   step
}

func newSeriesCache() *seriesCache {
	return &seriesCache{
		chunks:   map[uint64]*cachedChunk{},
		resolver: newResolver(),
		repeat:   series{outcome: outcome{dropped: true}, stand: true},
	}
}

// enter forgets everything when the generation is another one: a ref means
// another series there.
func (c *seriesCache) enter(generation uint64) {
	if c.generation == generation {
		return
	}
	c.rest()
	clear(c.chunks)
	c.generation, c.chunk = generation, nil
}

// begin makes the series of a window those at hand. Those of the one before it are
// of no use any more.
func (c *seriesCache) begin(window uint32) {
	if c.window != window {
		c.rest()
		c.window = window
	}
}

// lookup is where labels come from.
type lookup func(chunks.HeadSeriesRef) (logged.Series, bool)

// get returns the series of ref as it leaves by set, or nil when the log has no
// labels for it. It is the same one until the next window begins.
func (c *seriesCache) get(ref chunks.HeadSeriesRef, set *settings, find lookup) *series {
	at, i := uint64(ref)/cacheChunk, uint64(ref)%cacheChunk
	if c.chunk == nil || c.at != at {
		c.at, c.chunk = at, c.chunks[at]
	}
	if c.chunk != nil && c.chunk.awake != nil {
		if s := c.chunk.awake[i]; s != nil {
			set.resolve(s, c.resolver)
			return s
		}
	}
	known, ok := find(ref)
	if !ok {
		return nil
	}
	if c.chunk == nil {
		c.chunk = &cachedChunk{}
		c.chunks[at] = c.chunk
	}
	return c.wake(c.chunk, i, known, set)
}

// wake makes the series of a chunk that has the index i.
func (c *seriesCache) wake(k *cachedChunk, i uint64, known logged.Series, set *settings) *series {
	c.ruled = len(set.relabel) > 0
	c.awake.open(k)
	s := c.awake.place()
	k.awake[i] = s
	was := &k.resting[i]
	s.logged, s.newest, s.step = known.Labels, int64(was.newest)+math.MinInt64, was.step
	if set.wantsMetadata() {
		s.metadata = known.Metadata
	}
	switch {
	case k.formed != nil:
		s.outcome = k.formed[i]
	case !c.ruled:
		s.version = set.version // There is nothing to resolve.
	}
	set.resolve(s, c.resolver)
	return s
}

// rest keeps what is to be known of the series at hand, of which there are none
// then.
func (c *seriesCache) rest() {
	for _, k := range c.awake.chunks {
		for i, s := range k.awake {
			if s != nil {
				k.rest(i, s, c.ruled)
			}
		}
	}
	c.awake.empty()
}

func (k *cachedChunk) rest(i int, s *series, ruled bool) {
	k.resting[i] = restingSeries{newest: uint64(s.newest - math.MinInt64), step: s.step}
	if s.window > 0 {
		k.had[0] |= 1 << i
	}
	if k.formed == nil && (ruled || s.form != nil) {
		k.formed = &[cacheChunk]outcome{}
	}
	if k.formed != nil {
		k.formed[i] = s.outcome
	}
}

// sweep forgets, now and then, series that had no point for long. It is called
// after each window with its points, and puts its series to rest.
func (c *seriesCache) sweep(points int) {
	c.rest()
	c.read += points
	if c.read < sweepAfter*max(c.alive, fewestSwept) {
		return
	}
	c.read, c.alive, c.chunk = 0, 0, nil
	c.resolver.packer.Reset() // What it remembers may be gone.
	for at, k := range c.chunks {
		c.alive += bits.OnesCount64(k.had[0])
		if k.forget(c.ruled) {
			delete(c.chunks, at)
		}
	}
}

// forget forgets the series that had no point for long, and says whether that is
// all of them.
func (k *cachedChunk) forget(ruled bool) (all bool) {
	var kept uint64
	for _, had := range k.had {
		kept |= had
	}
	copy(k.had[1:], k.had[:])
	k.had[0] = 0
	forms := false
	for i := range k.resting {
		if kept&(1<<i) == 0 {
			k.resting[i] = restingSeries{}
			if k.formed != nil {
				k.formed[i] = outcome{}
			}
		}
		forms = forms || k.formed != nil && k.formed[i].form != nil
	}
	if !ruled && !forms {
		k.formed = nil
	}
	return kept == 0
}
