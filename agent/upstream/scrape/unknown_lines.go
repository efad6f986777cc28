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

// begin makes a parser of the lines that follow, which are not known.
func (k *knownLines) begin() {
	end := k.at
	for range k.lines {
		n := bytes.IndexByte(k.body[end:], '\n')
		if n < 0 {
			end = len(k.body)
			break
		}
		end += n + 1
	}
	k.lines = min(2*k.lines, manyLines)
	k.runStart, k.runEnd = k.at, end
	k.runHead = 0
	if len(k.typeLine) > 0 {
		k.runHead = len(k.typeLine) + 1
	}
	k.run = k.withType(k.run[:0], k.body[k.at:end])
	k.inner = k.parseAfterType(k.run)
}

// withType appends the last type line and lines to b.
func (k *knownLines) withType(b, lines []byte) []byte {
	if len(k.typeLine) > 0 {
		b = append(append(b, k.typeLine...), '\n')
	}
	b = append(b, lines...)
	if b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return b
}

func (k *knownLines) parseAfterType(b []byte) textparse.Parser {
	p := k.parse(b)
	if len(k.typeLine) > 0 {
		_, _ = p.Next() // It was accepted before.
	}
	return p
}

// nextOfRun reads the next entry of lines that are not known. It is false when
// there was none: the run is at its end, or all the rest is left to the parser.
func (k *knownLines) nextOfRun() (textparse.Entry, bool) {
	et, err := k.inner.Next()
	switch {
	case err == nil:
		k.pass(et)
		return et, true
	case errors.Is(err, io.EOF) && len(bytes.Trim(k.body[min(k.at, k.runEnd):k.runEnd], " \t\n")) == 0:
		k.at, k.inner = max(k.at, k.runEnd), nil // Blank lines after the run were passed already.
	default:
		k.inner = k.parseAfterType(k.withType(nil, k.body[k.at:]))
		k.plain = true
	}
	return et, false
}

// pass goes past an entry of the run.
func (k *knownLines) pass(et textparse.Entry) {
	var in []byte
	switch et {
	case textparse.EntryHelp:
		in, _ = k.inner.Help()
	case textparse.EntryType:
		in, _ = k.inner.Type()
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
	if et == textparse.EntryType {
		k.typeLine = k.body[begin:end]
	}
	k.at = end + 1
}

// whereInBody is where the body has what a part of the run is a copy of.
func (k *knownLines) whereInBody(part []byte) int {
	offset := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(k.run))))
	return k.runStart + offset - k.runHead
}

// inBody is what a part of the run is a copy of.
func (k *knownLines) inBody(part []byte) []byte {
	begin := k.whereInBody(part)
	return k.body[begin : begin+len(part)]
}
