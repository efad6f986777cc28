// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"torchbearer/agent/logged"
)

// badDisk gives an error for one of its pages.
type badDisk struct {
	*os.File

	page int64
}

func (b *badDisk) ReadAt(p []byte, at int64) (int, error) {
	bad := b.page * pageSize
	switch {
	case at >= bad && at < bad+pageSize:
		return 0, syscall.EIO
	case at < bad && at+int64(len(p)) > bad:
		n, err := b.File.ReadAt(p[:bad-at], at)
		return n, errors.Join(err, syscall.EIO)
	default:
		return b.File.ReadAt(p, at)
	}
}

func TestReaderGivesUpAPageThatTheDiskDoesNotGive(t *testing.T) {
	f := newFolder(t, 1)
	for i := range 11 {
		f.put(logFile(1, 0), sampleRecord(int64(i), 1))
	}
	refs := make([]int, 2000)
	for i := range 10 {
		f.put(logFile(1, 0), sampleRecord(int64(100+i), refs...))
	}
	f.put(logFile(1, 1), sampleRecord(500, 1))
	d, counted := f.damage()
	r := f.reader(logged.Position{}, d)
	var b logged.Batch
	r.Next(&b)
	r.patience = time.Hour
	r.segment.buf, r.segment.file = r.segment.buf[:r.segment.at], &badDisk{File: r.file, page: 1}
	read := 1
	for r.Next(&b) {
		read++
	}
	at := r.Position()
	if r.Next(&b); r.Position() != at || counted(reasonUnreadable) != 0 {
		t.Errorf("gone on from %s to %s before the patience was at an end", at, r.Position())
	}
	r.patience = 0
	last := int64(0)
	for r.Next(&b) {
		read++
		last = b.Samples[0].T
	}
	if n := counted(reasonUnreadable); n != 1 {
		t.Errorf("%g unreadable, want 1", n)
	}
	// A record of 2000 samples is two thirds of a page.
	if read < 18 || read > 20 || last != 500 {
		t.Errorf("read %d of 22 records, the last of time %d", read, last)
	}
}
