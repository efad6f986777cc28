// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/record"

	"torchbearer/agent/disk"
)

// stripSuffix ends the name of a stripped segment that is not complete.
const stripSuffix = ".strip"

// stripSegment rewrites a complete segment with only what it says of series, so
// that later segments keep their labels. It keeps the time of the last write.
// Doing it again changes nothing. After an error the segment is as it was.
func stripSegment(path string) (err error) {
	in, err := openSegment(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("strip segment: %w", err)
	}
	stripped := path + stripSuffix
	if err := os.RemoveAll(stripped); err != nil { // of a process that was killed
		return fmt.Errorf("strip segment: %w", err)
	}
	out, err := os.OpenFile(stripped, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("strip segment: %w", err)
	}
	if err := errors.Join(copySeries(out, in), out.Sync(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("strip segment %s: %w", path, err), os.Remove(stripped))
	}
	if err := errors.Join(os.Chtimes(stripped, info.ModTime(), info.ModTime()), os.Rename(stripped, path)); err != nil {
		return fmt.Errorf("strip segment: %w", err)
	}
	return disk.SyncDir(filepath.Dir(path))
}

// copySeries copies the records of series and metadata, compressed as they are.
func copySeries(to io.Writer, from io.ReaderAt) error {
	u := &unpacker{}
	defer u.close()
	buffered := bufio.NewWriterSize(to, segmentBufferSize)
	w := &segmentWriter{to: buffered}
	// The readers have counted the damage, and those who have not will not come.
	r := newSegmentReader(from, 0, u, func(string, int64) {})
	for {
		payload, ok := r.next(true)
		if r.err != nil {
			return r.err
		}
		if !ok {
			return buffered.Flush()
		}
		if len(payload) == 0 || payload[0] != byte(record.Series) && payload[0] != byte(record.Metadata) {
			continue
		}
		if err := w.write(r.rawFlags, r.raw); err != nil {
			return err
		}
	}
}

// segmentWriter writes records as a segment has them.
type segmentWriter struct {
	to   io.Writer
	page int // bytes of it that are written
}

func (w *segmentWriter) write(flags byte, raw []byte) error {
	table := crc32.MakeTable(crc32.Castagnoli)
	for first := true; first || len(raw) > 0; first = false {
		left := pageSize - w.page
		if left < fragmentHeaderSize {
			if err := w.put(make([]byte, left)); err != nil {
				return err
			}
			left = pageSize
		}
		part := raw[:min(len(raw), left-fragmentHeaderSize)]
		raw = raw[len(part):]
		kind := byte(kindMiddle)
		switch {
		case first && len(raw) == 0:
			kind = kindFull
		case first:
			kind = kindFirst
		case len(raw) == 0:
			kind = kindLast
		}
		var header [fragmentHeaderSize]byte
		header[0] = kind | flags
		binary.BigEndian.PutUint16(header[1:], uint16(len(part)))
		binary.BigEndian.PutUint32(header[3:], crc32.Checksum(part, table))
		if err := errors.Join(w.put(header[:]), w.put(part)); err != nil {
			return err
		}
	}
	return nil
}

func (w *segmentWriter) put(b []byte) error {
	w.page = (w.page + len(b)) % pageSize
	_, err := w.to.Write(b)
	return err
}
