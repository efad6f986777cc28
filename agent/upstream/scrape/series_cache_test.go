// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// entryOf finds the entry of a text, for upstream's tests, and changes nothing.
func (c *scrapeCache) entryOf(met string) (*cacheEntry, bool) {
	hash, check := c.hashes([]byte(met))
	number, ok := c.lookup([]byte(met), hash, check)
	if !ok {
		return nil, false
	}
	return c.entries.at(number), true
}

// fourMaps is what upstream keeps, as it keeps it.
type fourMaps struct {
	iter     uint64
	series   map[string]*mapEntry
	dropped  map[string]uint64
	cur      map[storage.SeriesRef]*mapEntry
	previous map[storage.SeriesRef]*mapEntry
}

type mapEntry struct {
	ref      storage.SeriesRef
	lastIter uint64
}

func (m *fourMaps) stale() map[storage.SeriesRef]bool {
	refs := map[storage.SeriesRef]bool{}
	for ref := range m.previous {
		if _, ok := m.cur[ref]; !ok {
			refs[ref] = true
		}
	}
	return refs
}

func (m *fourMaps) end(flush bool) {
	if flush {
		maps.DeleteFunc(m.series, func(_ string, e *mapEntry) bool { return e.lastIter != m.iter })
		maps.DeleteFunc(m.dropped, func(_ string, iter uint64) bool { return iter != m.iter })
	}
	m.previous, m.cur = m.cur, map[storage.SeriesRef]*mapEntry{}
	m.iter++
}

// The table answers what four maps would, over scrapes that come and go, fail
// half-way, tell a series twice or under two texts, and drop some.
func TestSeriesTableIsAsFourMaps(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 7))
		cache := newTestCache()
		if seed%3 == 0 {
			cache.now = lastIter - uint16(random.IntN(20)) // It begins again meanwhile.
		}
		m := &fourMaps{series: map[string]*mapEntry{}, dropped: map[string]uint64{}, cur: map[storage.SeriesRef]*mapEntry{}}
		texts := 1 + random.IntN(200)
		for range 30 {
			from, n := random.IntN(texts), random.IntN(texts)
			for i := range n {
				expose(t, random, cache, m, (from+i)%texts)
				if random.IntN(10) == 0 {
					expose(t, random, cache, m, random.IntN(texts))
				}
			}
			got := map[storage.SeriesRef]bool{}
			cache.forEachStale(func(ref storage.SeriesRef, ls labels.Labels) bool {
				require.False(t, got[ref&RefMask], "twice")
				require.NotEmpty(t, ls.Get("text"))
				got[ref&RefMask] = true
				return true
			})
			require.Equal(t, m.stale(), got, "seed %d", seed)
			flush := random.IntN(4) > 0
			m.end(flush)
			cache.iterDone(flush)
			require.Equal(t, len(m.series)+len(m.dropped), cache.entries.len(), "seed %d", seed)
		}
	}
}

// expose lets both see a text. Three in a row are the same series.
func expose(t *testing.T, random *rand.Rand, cache *scrapeCache, m *fourMaps, number int) {
	t.Helper()
	text := []byte(fmt.Sprintf("text_%d", number))
	if number%17 == 0 {
		text = append(text, strings.Repeat("x", longText-3+number%5)...)
	}
	ref := storage.SeriesRef(1 + number/3)
	if number%11 == 0 {
		e, ok, already := cache.get(text)
		iter, want := m.dropped[string(text)]
		require.Equal(t, want, ok)
		if ok {
			require.True(t, e.has(markDropped))
			require.Equal(t, iter == m.iter, already)
		} else {
			cache.addDropped(text)
		}
		m.dropped[string(text)] = m.iter
		return
	}
	e, ok, already := cache.get(text)
	me := m.series[string(text)]
	require.Equal(t, me != nil, ok)
	if ok {
		require.Equal(t, me.ref, e.ref&RefMask)
		require.Equal(t, me.lastIter == m.iter, already)
		require.Equal(t, string(text), e.lset.Get("text"))
		me.lastIter = m.iter
	} else {
		e = cache.addRef(text, ref, labels.FromStrings("text", string(text)))
		me = &mapEntry{ref: ref, lastIter: m.iter}
		m.series[string(text)] = me
	}
	if random.IntN(10) == 0 { // What stands above RefBits is an appender's own.
		cache.updateRef(e, ref|storage.SeriesRef(random.Uint64N(4))<<RefBits)
	}
	if random.IntN(20) > 0 {
		cache.trackStaleness(e)
		m.cur[me.ref] = me
	}
}

// room is for how many entries there is memory.
func room(cache *scrapeCache) int {
	n := 0
	for _, p := range cache.entries.pieces {
		n += cap(p)
	}
	return n
}

func TestSeriesTableGivesMemoryBack(t *testing.T) {
	cache := newTestCache()
	scrape := func(n int) {
		for i := range n {
			text := []byte(fmt.Sprintf("text_%d", i))
			if _, ok, _ := cache.get(text); !ok {
				cache.addRef(text, 1, labels.EmptyLabels())
			}
		}
		cache.iterDone(true)
	}
	scrape(10_000)
	require.LessOrEqual(t, room(cache), 10_000+entriesTogether)
	require.Empty(t, cache.slots)
	scrape(100)
	require.LessOrEqual(t, room(cache), 100+entriesTogether)
	scrape(101)
	require.Equal(t, 101, cache.entries.len())
	require.LessOrEqual(t, room(cache), 101+entriesTogether)
	require.LessOrEqual(t, cap(cache.entries.pieces), 12)
}

// A long text is found again, if its line is read by the parser each time.
func TestLongTexts(t *testing.T) {
	cache := newTestCache()
	for _, n := range []int{longText - 1, longText, longText + 1, 1 << 20} {
		text := []byte("long{a=\"" + strings.Repeat("x", n-len("long{a=\"\"}")) + "\"}")
		require.Len(t, text, n)
		cache.readAs(promFormat)
		cache.addRef(text, 1, labels.FromStrings("text", string(text)))
		e, ok, _ := cache.get(text)
		require.True(t, ok)
		require.Equal(t, n < longText, e.has(markText))
		_, ok = cache.series(append(text, " 1\n"...))
		require.Equal(t, n < longText, ok)
		_, ok, _ = cache.get(text[1:])
		require.False(t, ok)
	}
	require.Equal(t, 4, cache.entries.len())
}

// TestCacheEntryIsSmall: there is one for each series of each target.
func TestCacheEntryIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(cacheEntry{}), uintptr(40))
}

// BenchmarkKnownLines reads the text of a target that exposes what it did
// before:
//
//	go test -run '^$' -bench KnownLines -benchmem ./agent/upstream/scrape
func BenchmarkKnownLines(b *testing.B) {
	for _, bench := range []struct {
		name   string
		format textFormat
		known  bool
		text   string
	}{
		{"known", promFormat, true, many(1000)},
		{"PromParser", promFormat, false, many(1000)},
		{"OpenMetrics", openMetrics, true, manyOpen(1000)},
		{"OpenMetricsParser", openMetrics, false, manyOpen(1000)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cache := newTestCache()
			listen(cache, bench.format, bench.text, false)
			b.ReportAllocs()
			for b.Loop() {
				read(cache, bench.format, []byte(bench.text), bench.known)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/sample")
		})
	}
}
