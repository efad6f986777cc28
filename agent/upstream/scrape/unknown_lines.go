// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"errors"
	"io"
	"unsafe"

	"github.com/prometheus/prometheus/model/textparse"
)

// This file is Torchbearer's: what a parser of known lines does with others.

// endOfText is the last line of OpenMetrics.
const endOfText = "# EOF"

// atEnd says whether OpenMetrics ends here, as it should or not.
func (k *knownLines) atEnd() bool {
	return k.at >= len(k.body) || bytes.HasPrefix(k.body[k.at:], []byte(endOfText))
}

// leaveRest leaves all the rest to the parser.
func (k *knownLines) leaveRest() {
	text, _ := k.withHead(nil, k.body[min(k.at, len(k.body)):], false)
	k.inner = k.parseAfterHead(text)
	k.plain = true
}

// begin makes a parser of the lines that follow, which are not known. It is false
// when all the rest is left to that: OpenMetrics has a line without an end.
func (k *knownLines) begin() bool {
	end := k.at
	for range k.lines {
		rest := k.body[end:]
		n := bytes.IndexByte(rest, '\n')
		if k.open && (n < 0 || bytes.HasPrefix(rest, []byte(endOfText))) {
			break
		}
		if n < 0 {
			end = len(k.body)
			break
		}
		end += n + 1
	}
	if k.open && end == k.at {
		k.leaveRest()
		return false
	}
	k.lines = min(2*k.lines, manyLines)
	k.runStart, k.runEnd = k.at, end
	k.run, k.runHead = k.withHead(k.run[:0], k.body[k.at:end], true)
	k.inner = k.parseAfterHead(k.run)
	return true
}

// withHead appends the last lines of type and unit, whose end is head, and lines,
// to b. Those are a text of their own if that is to be whole.
func (k *knownLines) withHead(b, lines []byte, whole bool) (text []byte, head int) {
	for _, line := range k.told {
		if len(line) > 0 {
			b = append(append(b, line...), '\n')
		}
	}
	head = len(b)
	b = append(b, lines...)
	switch {
	case k.open && whole:
		b = append(b, endOfText+"\n"...)
	case !k.open && len(b) > 0 && b[len(b)-1] != '\n':
		b = append(b, '\n')
	default:
	}
	return b, head
}

// parseAfterHead returns a parser of what withHead made, behind the lines of type
// and unit, which were accepted before.
func (k *knownLines) parseAfterHead(b []byte) textparse.Parser {
	p := k.parse(b)
	for _, line := range k.told {
		if len(line) > 0 {
			_, _ = p.Next()
		}
	}
	return p
}

// nextOfRun reads the next entry of lines that are not known. It is false when
// there was none: the run is at its end, or all the rest is left to the parser.
func (k *knownLines) nextOfRun() (textparse.Entry, bool) {
	et, err := k.inner.Next()
	switch {
	case err == nil && k.open && et == textparse.EntrySeries && k.breaksOff():
		k.leaveRest()
		et, err = k.inner.Next()
		return et, err == nil
	case err == nil:
		k.pass(et)
		return et, true
	case errors.Is(err, io.EOF) && len(bytes.Trim(k.body[min(k.at, k.runEnd):k.runEnd], " \t\n")) == 0:
		k.at, k.inner = max(k.at, k.runEnd), nil // Blank lines after the run were passed already.
	default:
		k.leaveRest()
	}
	return et, false
}

// breaksOff says whether the parser of OpenMetrics stopped behind the value of a
// series and not at the end of the line: what follows there is no token, which it
// says when it is to read on.
func (k *knownLines) breaksOff() bool {
	met, _, _ := k.inner.Series()
	line := k.body[k.whereInBody(met)+len(met):]
	line = bytes.TrimPrefix(line[:max(bytes.IndexByte(line, '\n'), 0)], []byte(" "))
	_, rest, spaced := bytes.Cut(line, []byte(" "))
	return spaced && !bytes.HasPrefix(rest, []byte("# {")) && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '#')
}

// pass goes past an entry of the run.
func (k *knownLines) pass(et textparse.Entry) {
	var in []byte
	switch et {
	case textparse.EntryHelp:
		in, _ = k.inner.Help()
	case textparse.EntryType:
		in, _ = k.inner.Type()
	case textparse.EntryUnit:
		in, _ = k.inner.Unit()
	case textparse.EntryComment:
		in = k.inner.Comment()
	default:
		in, _, _ = k.inner.Series()
	}
	end := k.whereInBody(in) + len(in)
	begin := bytes.LastIndexByte(k.body[:end], '\n') + 1
	if n := bytes.IndexByte(k.body[end:], '\n'); n >= 0 {
		end += n
	} else {
		end = len(k.body)
	}
	switch et {
	case textparse.EntryType:
		k.told[typeLine] = k.body[begin:end]
	case textparse.EntryUnit:
		k.told[unitLine] = k.body[begin:end]
	default:
	}
	k.at = end + 1
}

// whereInBody is where the body has what a part of the run is a copy of.
func (k *knownLines) whereInBody(part []byte) int {
	offset := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(k.run))))
	return k.runStart + offset - k.runHead
}

// inBody is what a part of the run is a copy of. What the parser of all the rest
// has stays as it is.
func (k *knownLines) inBody(part []byte) []byte {
	if k.plain {
		return part
	}
	begin := k.whereInBody(part)
	return k.body[begin : begin+len(part)]
}
