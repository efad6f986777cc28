// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"torchbearer/agent/disk"
	"torchbearer/agent/logged"
)

// A journal is a file of two slots. One of them has a state that is on the disk;
// all later ones are written over each other in the other one, until that is
// brought to the disk and they change places. So one is whole whenever the power
// goes, and the disk has to write but one of them each time. A slot is a head, a
// state as JSON, and the checksum of both; a killed process cannot tear it, as it
// lies in one page of memory.
const (
	slotSize    = 4096
	slotMagic   = "TBJ1"
	slotHead    = len(slotMagic) + 8 + 4 // sequence number, length
	slotTail    = 4                      // checksum
	journalSize = 2 * slotSize
)

// state is what a destination must know after a restart.
type state struct {
	identity

	// Sent is where the next window begins: everything before it has its answer.
	Sent logged.Position `json:"sent"`
	// Window is what was being sent, nil between windows.
	Window *intent `json:"window,omitempty"`
	// Retired is when the config ceased to name the destination.
	Retired time.Time `json:"retired,omitzero"`
}

// clone shares nothing with s.
func (s state) clone() state {
	if s.Window != nil {
		w := *s.Window
		w.Done = slices.Clone(w.Done)
		s.Window = &w
	}
	return s
}

// intent is how a window is cut into requests: with the log it gives the very
// same requests again, so that one whose answer nobody heard is sent again whole
// and never mixed with what comes after it.
type intent struct {
	End        logged.Position `json:"end"`
	Shards     int             `json:"shards"`
	PerRequest int             `json:"per_request"`
	// Done counts the points of each shard, in the order of the log, that have
	// their answer.
	Done []int `json:"done"`
	// Points is how many have none, to count them should the log be gone.
	Points int `json:"points"`
	// Cut is how many points all shards have. When that is not what the log gives
	// any more, Done means nothing.
	Cut int `json:"cut"`
}

// file is what a journal needs of one.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

// onDisk is a file of which only the content matters.
type onDisk struct{ *os.File }

func (f onDisk) Sync() error { return disk.Sync(f.File) }

// journal keeps a state on disk. Its methods are for one goroutine at a time.
type journal struct {
	path    string
	file    file
	seq     uint64
	slot    int64 // to write
	written bool  // since slot changed
	buf     []byte
}

// errJournalDamaged says that neither slot can be read.
var errJournalDamaged = errors.New("the journal is damaged")

// createJournal makes a journal with its full size, so that writing a state
// needs no more space.
func createJournal(path string, s state) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|openSafely, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	j := &journal{path: path, file: onDisk{f}}
	_, err = f.WriteAt(make([]byte, journalSize), 0)
	if err == nil {
		err = j.write(s)
	}
	if err == nil {
		err = j.sync()
	}
	if err == nil {
		err = disk.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create journal %s: %w", path, err), f.Close(), os.Remove(path))
	}
	return j, nil
}

// openJournal reads the newest whole state. With errJournalDamaged it returns a
// journal that can be written.
func openJournal(path string) (*journal, state, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, state{}, fmt.Errorf("open journal: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, state{}, fmt.Errorf("open journal %s: it is no regular file; remove it", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|openSafely, 0)
	if err != nil {
		return nil, state{}, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{path: path, file: onDisk{f}}
	s, err := j.read()
	if err != nil {
		return j, state{}, fmt.Errorf("read journal %s: %w", path, err)
	}
	_ = j.sync() // Else it is written over, and the older one kept.
	return j, s, nil
}

func (j *journal) read() (state, error) {
	var newest state
	found := false
	for slot := range int64(2) {
		buf := make([]byte, slotSize)
		if _, err := j.file.ReadAt(buf, slot*slotSize); err != nil && !errors.Is(err, io.EOF) {
			continue // As bad as a bad checksum; the other slot may do.
		}
		s, seq, ok := decodeSlot(buf)
		if ok && (!found || seq > j.seq) {
			newest, found, j.seq, j.slot, j.written = s, true, seq, slot, true
		}
	}
	if !found {
		return state{}, errJournalDamaged
	}
	return newest, nil
}

func decodeSlot(buf []byte) (s state, seq uint64, ok bool) {
	if !bytes.HasPrefix(buf, []byte(slotMagic)) {
		return state{}, 0, false
	}
	seq = binary.BigEndian.Uint64(buf[len(slotMagic):])
	length := int(binary.BigEndian.Uint32(buf[len(slotMagic)+8:]))
	if length > slotSize-slotHead-slotTail {
		return state{}, 0, false
	}
	end := slotHead + length
	if crc32.Checksum(buf[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(buf[end:]) {
		return state{}, 0, false
	}
	if err := json.Unmarshal(buf[slotHead:end], &s); err != nil || !s.sane() {
		return state{}, 0, false
	}
	return s, seq, true
}

// sane says whether a state can have been written by us: a checksum does not
// tell who made it.
func (s *state) sane() bool {
	w := s.Window
	if w == nil {
		return true
	}
	if w.Shards < 1 || w.Shards > maxShards || w.PerRequest < 1 || len(w.Done) != w.Shards || w.Points < 0 || w.Cut < 0 {
		return false
	}
	for _, done := range w.Done {
		if done < 0 {
			return false
		}
	}
	return s.Sent.Before(w.End) && s.Sent.Generation == w.End.Generation
}

// write puts s into the slot whose state need not be kept.
func (j *journal) write(s state) error {
	content, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write journal %s: %w", j.path, err)
	}
	if len(content) > slotSize-slotHead-slotTail {
		return fmt.Errorf("write journal %s: a state of %d bytes has no room", j.path, len(content))
	}
	seq := j.seq + 1
	j.buf = append(j.buf[:0], slotMagic...)
	b := j.buf
	b = binary.BigEndian.AppendUint64(b, seq)
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	j.buf = b
	if _, err := j.file.WriteAt(b, j.slot*slotSize); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.seq, j.written = seq, true
	return nil
}

// sync brings what was written to the disk.
func (j *journal) sync() error {
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync journal %s: %w", j.path, err)
	}
	if j.written {
		j.slot, j.written = 1-j.slot, false
	}
	return nil
}

func (j *journal) close() error {
	if err := errors.Join(j.file.Sync(), j.file.Close()); err != nil {
		return fmt.Errorf("close journal %s: %w", j.path, err)
	}
	return nil
}

// remove closes the journal and deletes its file.
func (j *journal) remove() error {
	if err := errors.Join(j.file.Close(), os.Remove(j.path)); err != nil {
		return fmt.Errorf("remove journal %s: %w", j.path, err)
	}
	return nil
}
