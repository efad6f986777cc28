// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bytes"
	"math"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// This file is Torchbearer's: it reads what follows the text of a known series.

// readSuffix reads a value, a timestamp if there is one, and in OpenMetrics an
// exemplar, in their plainest form.
func (l *knownLine) readSuffix(rest []byte, open bool) bool {
	l.hasTS, l.hasExemplar = false, false
	if open {
		var ok bool
		if rest, ok = l.readExemplar(rest); !ok {
			return false
		}
	}
	if i := bytes.IndexByte(rest, ' '); i >= 0 {
		if l.ts, l.hasTS = readTimestamp(rest[i+1:], open); !l.hasTS {
			return false
		}
		rest = rest[:i]
	}
	var ok bool
	l.val, ok = readValue(rest)
	return ok
}

// readExemplar reads an exemplar if rest has one, and returns what comes before it.
func (l *knownLine) readExemplar(rest []byte) ([]byte, bool) {
	at := bytes.IndexByte(rest, '#')
	if at < 0 {
		return rest, true
	}
	begin, text := rest[:at], rest[at:]
	if !bytes.HasSuffix(begin, []byte(" ")) || !bytes.HasPrefix(text, []byte("# {")) {
		return nil, false
	}
	text = text[len("# {"):]
	l.exemplar = text
	for !bytes.HasPrefix(text, []byte("}")) {
		size, _, _ := readPair(text)
		if size == 0 {
			return nil, false
		}
		text = text[size:]
	}
	value, timestamp, hasTS := bytes.Cut(bytes.TrimPrefix(text[1:], []byte(" ")), []byte(" "))
	var ok bool
	if l.exemplarVal, ok = readValue(value); !ok || text[1] != ' ' {
		return nil, false
	}
	if l.exemplarHasTS = hasTS; hasTS {
		if l.exemplarTS, ok = readTimestamp(timestamp, true); !ok {
			return nil, false
		}
	}
	l.hasExemplar = true
	return begin[:at-1], true
}

// readPair reads a label of an exemplar, and the comma behind it if there is one.
// The size is 0 if it is not in its plainest form.
func readPair(text []byte) (size int, name, val string) {
	equal := bytes.IndexByte(text, '=')
	if equal < 0 || !model.LegacyValidation.IsValidLabelName(yoloString(text[:equal])) || !bytes.HasPrefix(text[equal+1:], []byte(`"`)) {
		return 0, "", ""
	}
	begin := equal + 2
	end := bytes.IndexAny(text[begin:], `"\`)
	if end < 0 || text[begin+end] == '\\' || !utf8.Valid(text[begin:begin+end]) {
		return 0, "", ""
	}
	size = begin + end + 1
	if size < len(text) && text[size] == ',' {
		size++
	} else if !bytes.HasPrefix(text[size:], []byte("}")) {
		return 0, "", ""
	}
	return size, yoloString(text[:equal]), yoloString(text[begin : begin+end])
}

// readTimestamp reads milliseconds, of OpenMetrics seconds.
func readTimestamp(b []byte, open bool) (int64, bool) {
	if !open {
		return readDigits(b)
	}
	seconds, ok := readValue(b)
	return int64(seconds * 1000), ok && !math.IsNaN(seconds) && !math.IsInf(seconds, 0)
}
