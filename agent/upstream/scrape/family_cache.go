// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// This file is Torchbearer's: it finds the family that a line tells something
// of, which is nearly always the one that it was about in the last scrape, in
// place of upstream's map of them.

// metaPrefix is the length of "# HELP ", "# TYPE " and "# UNIT ".
const metaPrefix = 7

// familyChain has the families that a target told something of, and their order
// in the last scrape. Where a field is 1 + a number, 0 is none.
type familyChain struct {
	families []*metaEntry      // by number
	byName   map[string]uint32 // numbers; nil until they are asked for in a scrape

	firstFamily uint32 // 1 + the one that the last scrape began with
	lastFamily  uint32 // 1 + the one that was told something of last in this iteration
	told        int    // that were told something of in the iteration toldAt
	toldAt      uint32
	numbered    uint16 // what numberFamily gave last

	familyFound uint32 // 1 + what the parser of known lines found, until setHelp, setType or setUnit is called
}

// metaEntry holds meta information about a metric. Targets that expose the same
// share what is said of it, also with the log.
type metaEntry struct {
	name unique.Handle[string]
	said unique.Handle[metadata.Metadata]
	next uint32 // 1 + the family that followed in the last scrape.

	lastIter       uint32 // Last scrape iteration the entry was observed at.
	lastIterChange uint32 // Last scrape iteration the entry was changed at.

	number    uint16 // Of this name and type, see numberFamily.
	plainName bool   // It needs no quotes.
	plainHelp bool   // Help needs no escaping.
}

func (m *metaEntry) metadata() metadata.Metadata { return m.said.Value() }

func (m *metaEntry) size() int {
	said := m.metadata()
	return len(said.Help) + len(said.Unit) + len(said.Type)
}

func (m *metaEntry) api() MetricMetadata {
	said := m.metadata()
	return MetricMetadata{MetricFamily: m.name.Value(), Type: said.Type, Help: said.Help, Unit: said.Unit}
}

// begins says whether a line is of this family.
func (m *metaEntry) begins(line []byte) bool {
	name := m.name.Value()
	return m.plainName && len(name) < len(line) && line[len(name)] == ' ' && string(line[:len(name)]) == name
}

// expectedFamily returns the number of the family that it is, of those that something is
// likely to be told of now: the last one once more, and the one that followed it.
func (c *familyChain) expectedFamily(is func(*metaEntry) bool) (uint32, bool) {
	next := c.firstFamily
	if c.lastFamily > 0 {
		last := c.families[c.lastFamily-1]
		if is(last) {
			return c.lastFamily - 1, true
		}
		next = last.next
	}
	if next > 0 && is(c.families[next-1]) {
		return next - 1, true
	}
	return 0, false
}

// family returns the number of the one that a line "# HELP name …", "# TYPE name …"
// or "# UNIT name …" is expected to be of, if it is.
func (c *familyChain) family(line []byte) (uint32, bool) {
	if len(line) < metaPrefix {
		return 0, false
	}
	switch string(line[:metaPrefix]) {
	case "# HELP ", "# TYPE ", "# UNIT ":
		return c.expectedFamily(func(m *metaEntry) bool { return m.begins(line[metaPrefix:]) })
	}
	return 0, false
}

// knownFamily returns what the parser of known lines found, once. Nothing that
// others read of it changes.
func (c *scrapeCache) knownFamily() *metaEntry {
	number := c.familyFound
	if number == 0 {
		return nil
	}
	c.familyFound = 0
	c.touchFamily(number - 1)
	return c.families[number-1]
}

// tell returns the entry of a family that something is told of. Like all that
// change what others read, it is for who has metaMtx.
func (c *scrapeCache) tell(mfName []byte) *metaEntry {
	number := c.findFamily(mfName)
	c.touchFamily(number)
	return c.families[number]
}

// findFamily returns the number of the family of a name, which it makes if there
// is none.
func (c *scrapeCache) findFamily(mfName []byte) uint32 {
	if number, ok := c.expectedFamily(func(m *metaEntry) bool { return m.name.Value() == string(mfName) }); ok {
		return number
	}
	if number, ok := c.index()[string(mfName)]; ok {
		return number
	}
	e := &metaEntry{
		name: unique.Make(string(mfName)), said: unique.Make(metadata.Metadata{Type: model.MetricTypeUnknown}),
		plainName: model.LegacyValidation.IsValidMetricName(string(mfName)), number: c.numberFamily(),
	}
	number := uint32(len(c.families))
	c.families = append(c.families, e)
	c.byName[e.name.Value()] = number
	c.metadataSize += e.size()
	return number
}

// index are the numbers of families by their names. They are not kept after the
// scrape: the order of the last one is enough.
func (c *familyChain) index() map[string]uint32 {
	if c.byName == nil {
		c.byName = make(map[string]uint32, len(c.families))
		for number, e := range c.families {
			c.byName[e.name.Value()] = uint32(number)
		}
	}
	return c.byName
}

// setMetadata changes what is said of a family.
func (c *scrapeCache) setMetadata(e *metaEntry, m metadata.Metadata) {
	c.metadataSize -= e.size()
	e.said = unique.Make(m)
	c.metadataSize += e.size()
	e.plainHelp = isPlain(m.Help)
	e.lastIterChange = c.iter
}

// numberFamily gives a family of one name and type a number. A target that had
// many is given 0 for more.
func (c *familyChain) numberFamily() uint16 {
	if c.numbered < math.MaxUint16 {
		c.numbered++
		return c.numbered
	}
	return 0
}

// has says whether a series is part of the family. e is its entry, whose labels
// need not be looked at twice; if that is nil lset is looked at.
func (m *metaEntry) has(e *cacheEntry, lset labels.Labels, mfName []byte) bool {
	if e != nil && e.family == m.number && m.number != 0 {
		return true
	}
	if e == nil {
		return isSeriesPartOfFamily(lset.Get(model.MetricNameLabel), mfName, m.metadata().Type)
	}
	if !isSeriesPartOfFamily(e.lset.Get(model.MetricNameLabel), mfName, m.metadata().Type) {
		return false
	}
	e.family = m.number
	return true
}

// touchFamily notes that something is told of a family in this iteration.
func (c *scrapeCache) touchFamily(number uint32) {
	if c.toldAt != c.iter {
		c.toldAt, c.told = c.iter, 0
	}
	if e := c.families[number]; e.lastIter != c.iter {
		e.lastIter = c.iter
		c.told++
	}
	switch c.lastFamily {
	case number + 1:
		return
	case 0:
		c.firstFamily = number + 1
	default:
		c.families[c.lastFamily-1].next = number + 1
	}
	c.lastFamily = number + 1
}

// flushFamilies forgets those that nothing was told of for more than ten
// scrapes.
func (c *scrapeCache) flushFamilies() {
	if c.toldAt == c.iter && c.told == len(c.families) {
		return
	}
	kept := slices.DeleteFunc(c.families, func(e *metaEntry) bool {
		gone := c.iter-e.lastIter > 10
		if gone {
			c.metadataSize -= e.size()
		}
		return gone
	})
	if len(kept) == len(c.families) {
		return
	}
	// They have other numbers now.
	c.families, c.byName, c.firstFamily = slices.Clone(kept), nil, 0
	for _, e := range c.families {
		e.next = 0
	}
}

// endFamilies begins the next iteration.
func (c *familyChain) endFamilies() {
	c.lastFamily, c.familyFound, c.byName = 0, 0, nil
}

// isPlain says whether help reads the same in the text format.
func isPlain(help string) bool {
	return help != "" && !strings.ContainsAny(help, "\\\n\x00") && utf8.ValidString(help)
}
