// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
)

// This file is Torchbearer's.

// knownLines reads the text format as textparse.PromParser does, entry by
// entry and error by error, but leaves lines to it only where it must: the text
// before the value of a series that it accepted once need not be read again,
// and neither need help and type of a family that are what they were.
//
// It relies on this: where a line begins, PromParser keeps no state but the
// type that a # TYPE line told last. Lines that are not known go to it in small
// runs, that line before them. As soon as it refuses one, or ends early, it
// gets all the rest in one piece, for an entry may go over several lines.
type knownLines struct {
	cache *scrapeCache
	parse func([]byte) textparse.Parser

	body     []byte
	at       int    // where the next line begins
	typeLine []byte // the last one

	known knownLine // what was read, if it is that
	isOne bool

	inner    textparse.Parser // of lines that are not known; nil is that none are read
	run      []byte           // what it reads: typeLine, then lines of body
	runHead  int              // how much of it is before those lines
	runStart int              // where those lines begin in body
	runEnd   int              // and end
	lines    int              // how many of them, at most
	plain    bool             // it reads all the rest
}

// knownLine is a line that was not parsed.
type knownLine struct {
	met   []byte // of a series
	val   float64
	ts    int64
	hasTS bool

	name []byte // of a family
	help []byte
	typ  model.MetricType
}

// How many lines that are not known are given to the parser at once.
const (
	fewLines  = 4
	manyLines = 64
)

// newKnownLines returns a parser of body. For series, cache.get is to be called
// with what Series returns before Next is called again; for help and type
// setHelp and setType are, in the same way.
func newKnownLines(cache *scrapeCache, body []byte, parse func([]byte) textparse.Parser) *knownLines {
	return &knownLines{cache: cache, parse: parse, body: body, lines: fewLines}
}

// skipKnown returns a parser that reads what p does, which is of body.
func (sl *scrapeLoop) skipKnown(p textparse.Parser, body []byte) textparse.Parser {
	_, sl.cache.text = p.(*textparse.PromParser)
	if !sl.cache.text || sl.cache.entries.len() == 0 {
		return p
	}
	return newKnownLines(sl.cache, body, func(b []byte) textparse.Parser {
		return textparse.NewPromParser(b, sl.symbolTable, sl.enableTypeAndUnitLabels)
	})
}

// Next implements textparse.Parser.
func (k *knownLines) Next() (textparse.Entry, error) {
	k.isOne = false
	for !k.plain {
		if k.at >= len(k.body) {
			return textparse.EntryInvalid, io.EOF
		}
		if k.body[k.at] == '\n' {
			k.at++
			continue
		}
		if et, ok := k.nextKnown(); ok {
			k.inner, k.lines, k.isOne = nil, fewLines, true
			return et, nil
		}
		if k.inner == nil {
			k.begin()
		}
		if et, ok := k.nextOfRun(); ok {
			return et, nil
		}
	}
	return k.inner.Next()
}

// nextKnown reads the next line, if it is known.
func (k *knownLines) nextKnown() (textparse.Entry, bool) {
	line := k.body[k.at:]
	if line[0] == '#' {
		return k.nextMeta(line)
	}
	number, ok := k.cache.series(line)
	if !ok {
		return textparse.EntryInvalid, false
	}
	size := k.cache.entries.at(number).size()
	if len(line) <= size+1 || line[size] != ' ' {
		return textparse.EntryInvalid, false
	}
	rest := line[size+1:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	if !k.known.readSuffix(rest) {
		return textparse.EntryInvalid, false
	}
	k.known.met = line[:size]
	k.cache.foundAt, k.cache.found = unsafe.SliceData(line), number
	k.at += size + 1 + len(rest) + 1
	return textparse.EntrySeries, true
}

// readSuffix reads a value, and a timestamp if there is one, in their plainest
// form.
func (l *knownLine) readSuffix(rest []byte) bool {
	l.hasTS = false
	if i := bytes.IndexByte(rest, ' '); i >= 0 {
		if l.ts, l.hasTS = readDigits(rest[i+1:]); !l.hasTS {
			return false
		}
		rest = rest[:i]
	}
	var ok bool
	l.val, ok = readValue(rest)
	return ok
}

func readDigits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// readValue reads what parseFloat of textparse does, if it is well-formed.
func readValue(b []byte) (float64, bool) {
	if n, ok := readDigits(b); ok && n < 1<<53 {
		return float64(n), true
	}
	s := yoloString(b)
	if strings.ContainsAny(s, "pP_") {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, err == nil
}

// nextMeta reads a line of help or type, if it is known.
func (k *knownLines) nextMeta(line []byte) (textparse.Entry, bool) {
	number := k.cache.family(line)
	if number == 0 {
		return textparse.EntryInvalid, false
	}
	e := k.cache.families[number-1]
	m, size := e.metadata(), len(e.name.Value())
	name := line[metaPrefix : metaPrefix+size]
	rest := line[metaPrefix+size+1:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	end := metaPrefix + size + 1 + len(rest)
	switch {
	case line[2] == 'H' && e.plainHelp && string(rest) == m.Help:
		k.known.name, k.known.help = name, rest
	case line[2] == 'T' && string(rest) == typeInText(m.Type):
		k.known.name, k.known.typ = name, m.Type
		k.typeLine = line[:end]
	default:
		return textparse.EntryInvalid, false
	}
	k.cache.familyFound = number
	k.at += end + 1
	if line[2] == 'H' {
		return textparse.EntryHelp, true
	}
	return textparse.EntryType, true
}

// Series implements textparse.Parser.
func (k *knownLines) Series() ([]byte, *int64, float64) {
	switch {
	case !k.isOne:
		return k.inner.Series()
	case k.known.hasTS:
		return k.known.met, &k.known.ts, k.known.val
	}
	return k.known.met, nil, k.known.val
}

// Help implements textparse.Parser. The name stays as it is while the body does.
func (k *knownLines) Help() (name, help []byte) {
	if k.isOne {
		return k.known.name, k.known.help
	}
	name, help = k.inner.Help()
	if !k.plain {
		name = k.inBody(name)
	}
	return name, help
}

// Type implements textparse.Parser. The name stays as it is while the body does.
func (k *knownLines) Type() ([]byte, model.MetricType) {
	if k.isOne {
		return k.known.name, k.known.typ
	}
	name, typ := k.inner.Type()
	if !k.plain {
		name = k.inBody(name)
	}
	return name, typ
}

// Labels implements textparse.Parser.
func (k *knownLines) Labels(l *labels.Labels) {
	if !k.isOne {
		k.inner.Labels(l)
		return
	}
	p := k.parseAfterType(k.withType(nil, append(slices.Clip(k.known.met), " 0"...)))
	_, _ = p.Next() // The series was accepted before.
	p.Labels(l)
}

// Comment implements textparse.Parser.
func (k *knownLines) Comment() []byte { return k.inner.Comment() }

// Unit implements textparse.Parser. The text format has none.
func (*knownLines) Unit() (name, unit []byte) { return nil, nil }

// Histogram implements textparse.Parser. The text format has no native ones.
func (*knownLines) Histogram() ([]byte, *int64, *histogram.Histogram, *histogram.FloatHistogram) {
	return nil, nil, nil, nil
}

// Exemplar implements textparse.Parser. The text format has none.
func (*knownLines) Exemplar(*exemplar.Exemplar) bool { return false }

// StartTimestamp implements textparse.Parser. The text format has none.
func (*knownLines) StartTimestamp() int64 { return 0 }
