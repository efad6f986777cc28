// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// This file is Torchbearer's: it finds the family that a line tells something
// of, which is nearly always the one that it was about in the last scrape.

// metaPrefix is the length of "# HELP " and "# TYPE ".
const metaPrefix = 7

// familyChain is the order of families in the last scrape.
type familyChain struct {
	firstFamily *metaEntry
	lastFamily  *metaEntry // what was told something of last in this iteration
	families    int        // that were told something of in the iteration countedAt
	countedAt   uint32
	numbered    uint16 // what numberFamily gave last

	metaFound *metaEntry // by the parser of known lines, until setHelp or setType is called
}

// family returns the one that a line "# HELP name …" or "# TYPE name …" is
// expected to be of, if it is.
func (c *scrapeCache) family(line []byte) *metaEntry {
	if len(line) < metaPrefix || string(line[:metaPrefix]) != "# HELP " && string(line[:metaPrefix]) != "# TYPE " {
		return nil
	}
	line = line[metaPrefix:]
	next := c.firstFamily
	if c.lastFamily != nil {
		if c.lastFamily.begins(line) {
			return c.lastFamily
		}
		next = c.lastFamily.next
	}
	if next != nil && next.begins(line) {
		return next
	}
	return nil
}

// begins says whether a line is of this family.
func (m *metaEntry) begins(line []byte) bool {
	n := len(m.name)
	return m.plainName && n < len(line) && line[n] == ' ' && string(line[:n]) == m.name
}

// knownFamily returns what the parser of known lines found, once. Nothing that
// others read of it changes.
func (c *scrapeCache) knownFamily() *metaEntry {
	e := c.metaFound
	if e != nil {
		c.metaFound = nil
		c.touchFamily(e)
	}
	return e
}

// tell returns the entry of a family that something is told of, and its size
// before.
func (c *scrapeCache) tell(mfName []byte) (*metaEntry, int) {
	e, ok := c.metadata[string(mfName)]
	oldSize := 0
	if ok {
		oldSize = e.size()
	} else {
		e = &metaEntry{Metadata: metadata.Metadata{Type: model.MetricTypeUnknown}, name: string(mfName)}
		e.plainName = model.LegacyValidation.IsValidMetricName(e.name)
		e.number = c.numberFamily()
		c.metadata[e.name] = e
	}
	c.touchFamily(e)
	return e, oldSize
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
		return isSeriesPartOfFamily(lset.Get(model.MetricNameLabel), mfName, m.Type)
	}
	if !isSeriesPartOfFamily(e.lset.Get(model.MetricNameLabel), mfName, m.Type) {
		return false
	}
	e.family = m.number
	return true
}

// touchFamily notes that something is told of a family in this iteration.
func (c *scrapeCache) touchFamily(e *metaEntry) {
	if c.countedAt != c.iter {
		c.countedAt, c.families = c.iter, 0
	}
	if e.lastIter != c.iter {
		e.lastIter = c.iter
		c.families++
	}
	switch c.lastFamily {
	case e:
		return
	case nil:
		c.firstFamily = e
	default:
		c.lastFamily.next = e
	}
	c.lastFamily = e
}

// flushFamilies forgets those that nothing was told of for more than ten
// scrapes.
func (c *scrapeCache) flushFamilies() {
	if c.countedAt == c.iter && c.families == len(c.metadata) {
		return
	}
	gone := false
	for name, e := range c.metadata {
		if c.iter-e.lastIter > 10 {
			c.metadataSize -= e.size()
			delete(c.metadata, name)
			gone = true
		}
	}
	if gone {
		c.firstFamily = nil
		for _, e := range c.metadata {
			e.next = nil
		}
	}
}

// endFamilies begins the next iteration.
func (c *scrapeCache) endFamilies() {
	c.lastFamily, c.metaFound = nil, nil
}

// isPlain says whether help reads the same in the text format.
func isPlain(help string) bool {
	return help != "" && !strings.ContainsAny(help, "\\\n\x00") && utf8.ValidString(help)
}

// typeInText is the word for a type in the text format, if it has one.
func typeInText(t model.MetricType) string {
	switch t {
	case model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeSummary:
		return string(t)
	case model.MetricTypeUnknown:
		return "untyped"
	default:
		return ""
	}
}
