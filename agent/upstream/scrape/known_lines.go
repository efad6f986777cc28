// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"io"
	"slices"
	"unsafe"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// This file is Torchbearer's.

// knownLines reads the text format as textparse.PromParser does, or OpenMetrics
// 1.0 as textparse.OpenMetricsParser does, entry by entry and error by error, but
// leaves lines to the parser only where it must: the text before the value of a
// series that it accepted once need not be read again, and neither need what is
// said of a family if that is what it was.
//
// It relies on this: where a line begins, the parser keeps no state but what the
// last # TYPE and # UNIT lines told. Lines that are not known go to it in small
// runs, those lines before them. As soon as it refuses one, or ends early, it
// gets all the rest in one piece, for an entry may go over several lines.
type knownLines struct {
	cache *scrapeCache
	open  bool // the body is OpenMetrics, of which each line ends, also the last one
	parse func([]byte) textparse.Parser

	body []byte
	at   int       // where the next line begins
	told [2][]byte // the last typeLine and unitLine

	known   knownLine // what was read, if it is that
	isOne   bool
	builder labels.ScratchBuilder // of exemplars

	inner    textparse.Parser // of lines that are not known; nil is that none are read
	run      []byte           // what it reads: the last type and unit, then lines of body
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

	hasExemplar   bool   // that Exemplar has not told
	exemplar      []byte // begins with its labels, behind the brace
	exemplarVal   float64
	exemplarTS    int64
	exemplarHasTS bool

	name []byte // of a family
	help []byte
	typ  model.MetricType
	unit []byte
}

// Lines that mean something for those after them.
const (
	typeLine = iota
	unitLine
)

// How many lines that are not known are given to the parser at once.
const (
	fewLines  = 4
	manyLines = 64
)

// newKnownLines returns a parser of body, which has a format that parse makes a
// parser of. For series, cache.get is to be called with what Series returns before
// Next is called again; for help, type and unit setHelp, setType and setUnit are,
// in the same way.
func newKnownLines(cache *scrapeCache, body []byte, format textFormat, parse func([]byte) textparse.Parser) *knownLines {
	k := &knownLines{cache: cache, open: format == openMetrics, parse: parse, body: body, lines: fewLines}
	if k.open && bytes.IndexByte(body, 0) >= 0 {
		k.leaveRest() // What the parser makes of a zero depends on what came before.
	}
	return k
}

// Next implements textparse.Parser.
func (k *knownLines) Next() (textparse.Entry, error) {
	k.isOne = false
	for !k.plain {
		switch {
		case k.open && k.atEnd():
			k.leaveRest()
			continue
		case k.at >= len(k.body):
			return textparse.EntryInvalid, io.EOF
		case k.body[k.at] == '\n' && !k.open:
			k.at++
			continue
		default:
		}
		if et, ok := k.nextKnown(); ok {
			k.inner, k.lines, k.isOne = nil, fewLines, true
			return et, nil
		}
		if k.inner == nil && !k.begin() {
			break
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
	rest, ok := k.restOfLine(line[size+1:])
	if !ok || !k.known.readSuffix(rest, k.open) {
		return textparse.EntryInvalid, false
	}
	k.known.met = line[:size]
	k.cache.foundAt, k.cache.found = unsafe.SliceData(line), number
	k.at += size + 1 + len(rest) + 1
	return textparse.EntrySeries, true
}

// restOfLine is what comes before the end of a line, if that may be where it is.
func (k *knownLines) restOfLine(rest []byte) ([]byte, bool) {
	line, _, ended := bytes.Cut(rest, []byte("\n"))
	return line, ended || !k.open
}

// nextMeta reads a line of help, type or unit, if it is known.
func (k *knownLines) nextMeta(line []byte) (textparse.Entry, bool) {
	number, ok := k.cache.family(line)
	if !ok {
		return textparse.EntryInvalid, false
	}
	e := k.cache.families[number]
	m, size := e.metadata(), len(e.name.Value())
	name := line[metaPrefix : metaPrefix+size]
	rest, ok := k.restOfLine(line[metaPrefix+size+1:])
	if !ok {
		return textparse.EntryInvalid, false
	}
	end := metaPrefix + size + 1 + len(rest)
	var et textparse.Entry
	switch {
	case line[2] == 'H' && e.plainHelp && string(rest) == m.Help:
		et, k.known.help = textparse.EntryHelp, rest
	case line[2] == 'T' && len(rest) > 0 && string(rest) == k.typeInText(m.Type):
		et, k.known.typ = textparse.EntryType, m.Type
		k.told[typeLine] = line[:end]
	case line[2] == 'U' && k.open && string(rest) == m.Unit && endsInUnit(name, m.Unit):
		et, k.known.unit = textparse.EntryUnit, rest
		k.told[unitLine] = line[:end]
	default:
		return textparse.EntryInvalid, false
	}
	k.known.name = name
	k.cache.familyFound = number + 1
	k.at += end + 1
	return et, true
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
	return k.inBody(name), help
}

// Type implements textparse.Parser. The name stays as it is while the body does.
func (k *knownLines) Type() ([]byte, model.MetricType) {
	if k.isOne {
		return k.known.name, k.known.typ
	}
	name, typ := k.inner.Type()
	return k.inBody(name), typ
}

// Labels implements textparse.Parser.
func (k *knownLines) Labels(l *labels.Labels) {
	if !k.isOne {
		k.inner.Labels(l)
		return
	}
	text, _ := k.withHead(nil, append(slices.Clip(k.known.met), " 0\n"...), true)
	p := k.parseAfterHead(text)
	_, _ = p.Next() // The series was accepted before.
	p.Labels(l)
}

// Comment implements textparse.Parser.
func (k *knownLines) Comment() []byte { return k.inner.Comment() }

// Unit implements textparse.Parser. The name stays as it is while the body does.
func (k *knownLines) Unit() (name, unit []byte) {
	if k.isOne {
		return k.known.name, k.known.unit
	}
	name, unit = k.inner.Unit()
	return k.inBody(name), unit
}

// Histogram implements textparse.Parser. The formats have no native ones.
func (*knownLines) Histogram() ([]byte, *int64, *histogram.Histogram, *histogram.FloatHistogram) {
	return nil, nil, nil, nil
}

// Exemplar implements textparse.Parser.
func (k *knownLines) Exemplar(e *exemplar.Exemplar) bool {
	if !k.isOne {
		return k.open && k.inner.Exemplar(e)
	}
	l := &k.known
	if !l.hasExemplar {
		return false
	}
	l.hasExemplar = false
	e.Value, e.HasTs = l.exemplarVal, l.exemplarHasTS
	if e.HasTs {
		e.Ts = l.exemplarTS
	}
	k.builder.Reset()
	for text := bytes.Clone(l.exemplar); text[0] != '}'; {
		size, name, value := readPair(text)
		k.builder.Add(name, value)
		text = text[size:]
	}
	k.builder.Sort()
	e.Labels = k.builder.Labels()
	return true
}

// StartTimestamp implements textparse.Parser. The text format has none, and those
// of OpenMetrics are not asked for.
func (*knownLines) StartTimestamp() int64 { return 0 }
