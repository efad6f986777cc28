// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
)

// A segment is pages of 32 KiB; a record is one fragment or several, and no
// fragment crosses the end of a page (tsdb/docs/format/wal.md).
const (
	pageSize           = 32 << 10
	fragmentHeaderSize = 7 // kind and flags, length, checksum
	segmentBufferSize  = 4 * pageSize

	// maxRecordSize is far over what a scrape makes, and bounds what a damaged
	// file can make us take of memory.
	maxRecordSize = 128 << 20

	kindPadding = 0 // to the end of the page
	kindFull    = 1
	kindFirst   = 2
	kindMiddle  = 3
	kindLast    = 4

	kindMask   = 0b111
	flagSnappy = 1 << 3
	flagZstd   = 1 << 4
	flagsMask  = flagSnappy | flagZstd
)

// errForeign is for files in the hold that are no segments at all.
var errForeign = errors.New("not a regular file")

// errRemoved is for what was held and that someone else has removed.
var errRemoved = errors.New("someone has removed it")

// openSegment opens a file for reading only if it is a regular one, and never
// waits, as opening a named pipe would.
func openSegment(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openSafely, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("open segment %s: %w", path, errForeign)
	}
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errForeign
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open segment %s: %w", path, err), f.Close())
	}
	return f, nil
}

// segmentReader reads the records of one segment, which may be written to
// meanwhile. What is damaged is reported and left out.
type segmentReader struct {
	file       io.ReaderAt
	report     func(reason string, offset int64)
	unpack     *unpacker
	castagnoli *crc32.Table

	at   int64  // where the next fragment begins
	buf  []byte // what is known of the file from base on
	base int64

	half      []byte // fragments of a record whose last one is still to come
	halfBegin int64
	halfFlags byte
	halved    bool
	skipping  bool // after damage: what has no beginning belongs to that

	// What next read last.
	begin, end int64
	raw        []byte // compressed as rawFlags say
	rawFlags   byte

	err error // why the file could not be read; try again, or skipPage
}

func newSegmentReader(file io.ReaderAt, at int64, u *unpacker, report func(reason string, offset int64)) *segmentReader {
	return &segmentReader{
		file: file, report: report, unpack: u, castagnoli: crc32.MakeTable(crc32.Castagnoli),
		at: max(at, 0), end: max(at, 0), buf: make([]byte, 0, segmentBufferSize),
	}
}

// next returns the next record; it is good until the next call. There may be
// none for now, or err is set. A segment that is final will not be written to
// any more: an incomplete record at its end will never be complete.
func (s *segmentReader) next(final bool) ([]byte, bool) {
	s.err = nil
	for {
		head, data, ok := s.fragment(final)
		if !ok {
			if final && s.err == nil && s.halved {
				s.damaged(reasonTorn, s.halfBegin)
			}
			return nil, false
		}
		if payload, ok := s.join(head, data); ok {
			return payload, true
		}
	}
}

// fragment returns the next one that is undamaged.
func (s *segmentReader) fragment(final bool) (head byte, data []byte, ok bool) {
	for {
		left := int(pageSize - s.at%pageSize)
		if left < fragmentHeaderSize {
			s.at += int64(left)
			continue
		}
		b := s.peek(fragmentHeaderSize)
		if len(b) == 0 {
			return 0, nil, false
		}
		if b[0] == 0 {
			if !s.padding(left, final) {
				return 0, nil, false
			}
			continue
		}
		if len(b) < fragmentHeaderSize {
			return 0, nil, s.cut(final)
		}
		head = b[0]
		size := fragmentHeaderSize + int(binary.BigEndian.Uint16(b[1:]))
		if kind := head & kindMask; head&^(kindMask|flagsMask) != 0 || kind == kindPadding || kind > kindLast || size > left {
			s.skipDamaged(reasonFormat)
			continue
		}
		if b = s.peek(size); len(b) < size {
			return 0, nil, s.cut(final)
		}
		data = b[fragmentHeaderSize:]
		if crc32.Checksum(data, s.castagnoli) != binary.BigEndian.Uint32(b[3:]) {
			s.skipDamaged(reasonChecksum)
			continue
		}
		s.at += int64(size)
		return head, data, true
	}
}

// padding skips the zeroes at the end of a page, if all of them are there.
func (s *segmentReader) padding(left int, final bool) bool {
	b := s.peek(left)
	for _, c := range b {
		if c != 0 {
			s.skipDamaged(reasonFormat)
			return true
		}
	}
	if len(b) < left && (!final || s.err != nil) {
		return false
	}
	// No page is written without a record, and none is inside of one: this
	// would be a hole, as a power cut leaves it.
	switch {
	case s.halved:
		s.damaged(reasonTorn, s.halfBegin)
	case left == pageSize && !s.skipping:
		s.damaged(reasonTorn, s.at)
	}
	s.at += int64(len(b))
	return true
}

// cut is for a fragment that is not complete, and always false.
func (s *segmentReader) cut(final bool) bool {
	if final && s.err == nil {
		at := s.at
		if s.halved {
			at = s.halfBegin
		}
		s.damaged(reasonTorn, at)
		s.at = s.base + int64(len(s.buf))
	}
	return false
}

// join puts fragments together to records.
func (s *segmentReader) join(head byte, data []byte) ([]byte, bool) {
	begin := s.at - int64(len(data)) - fragmentHeaderSize
	kind, flags := head&kindMask, head&flagsMask
	if kind == kindFull || kind == kindFirst {
		if s.halved {
			s.damaged(reasonTorn, s.halfBegin)
		}
		s.skipping = false
		if kind == kindFull {
			return s.record(begin, flags, data)
		}
		if cap(s.half) > segmentBufferSize*8 {
			s.half = nil // of a record that was out of the common
		}
		s.half = append(s.half[:0], data...)
		s.halved, s.halfBegin, s.halfFlags = true, begin, flags
		return nil, false
	}
	switch {
	case !s.halved:
		if !s.skipping {
			s.damaged(reasonTorn, begin)
		}
		return nil, false
	case flags != s.halfFlags:
		s.damaged(reasonTorn, s.halfBegin)
		return nil, false
	case len(s.half)+len(data) > maxRecordSize:
		s.damaged(reasonTooLarge, s.halfBegin)
		return nil, false
	}
	s.half = append(s.half, data...)
	if kind == kindMiddle {
		return nil, false
	}
	s.halved = false
	return s.record(s.halfBegin, flags, s.half)
}

func (s *segmentReader) record(begin int64, flags byte, raw []byte) ([]byte, bool) {
	s.begin, s.end, s.raw, s.rawFlags = begin, s.at, raw, flags
	payload, err := s.unpack.unpack(flags, raw)
	if err != nil {
		s.report(reasonUndecodable, begin)
		return nil, false
	}
	return payload, true
}

func (s *segmentReader) damaged(reason string, offset int64) {
	s.halved, s.skipping = false, true
	s.report(reason, offset)
}

// skipDamaged goes on at the next page, the first place where a fragment is
// known to begin.
func (s *segmentReader) skipDamaged(reason string) {
	s.damaged(reason, s.at)
	s.at += pageSize - s.at%pageSize
}

// skipPage is for when next keeps on meeting err.
func (s *segmentReader) skipPage() { s.skipDamaged(reasonUnreadable) }

// peek returns the next n bytes, at most a page of them, or as many as there
// are.
func (s *segmentReader) peek(n int) []byte {
	if s.at+int64(n) > s.base+int64(len(s.buf)) {
		s.fill(n)
	}
	from := min(s.at-s.base, int64(len(s.buf)))
	return s.buf[from:min(from+int64(n), int64(len(s.buf)))]
}

func (s *segmentReader) fill(n int) {
	switch end := s.base + int64(len(s.buf)); {
	case s.at > end:
		s.buf, s.base = s.buf[:0], s.at
	case s.at+int64(n) > s.base+int64(cap(s.buf)):
		s.buf = s.buf[:copy(s.buf, s.buf[s.at-s.base:])]
		s.base = s.at
	}
	have := len(s.buf)
	got, err := s.file.ReadAt(s.buf[have:cap(s.buf)], s.base+int64(have))
	s.buf = s.buf[:have+got]
	if err != nil && !errors.Is(err, io.EOF) && got == 0 {
		s.err = err
	}
}
