// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// oddSuffix is added to the name of what lies where a segment should and is none.
const oddSuffix = ".foreign"

// relation is what is held in place of a segment of the log.
type relation int

const (
	nothing   relation = iota // or its series only
	itself                    // or a copy of all that it has
	beginning                 // a copy that has less
	another                   // another segment
	odd                       // no file at all
)

// relate compares a segment of the log with what is held by its name. Copies
// come of data directories that were moved without their links.
func relate(logged, held string) (relation, error) {
	info, err := os.Lstat(held)
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	if err != nil {
		return another, fmt.Errorf("adopt the log: %w", err)
	}
	if !info.Mode().IsRegular() {
		return odd, nil
	}
	if isSame(logged, held) {
		return itself, nil
	}
	longer, same, err := startTheSame(logged, held)
	switch {
	case err != nil:
		return another, fmt.Errorf("adopt the log: %w", err)
	case !same:
		return another, nil
	case longer:
		return beginning, nil
	default:
		return itself, nil
	}
}

// startTheSame says whether one of two files begins with the other, and whether
// the first is the longer one.
func startTheSame(first, second string) (longer, same bool, err error) {
	a, err := openSegment(first)
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := openSegment(second)
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	x, y := bufio.NewReaderSize(a, segmentBufferSize), bufio.NewReaderSize(b, segmentBufferSize)
	for {
		p, errX := x.ReadByte()
		q, errY := y.ReadByte()
		switch {
		case errX != nil && !errors.Is(errX, io.EOF) || errY != nil && !errors.Is(errY, io.EOF):
			return false, false, errors.Join(errX, errY)
		case errX != nil || errY != nil:
			return errX == nil, true, nil
		case p != q:
			return false, false, nil
		}
	}
}

// place links a segment of the log into the hold, over a copy of its beginning
// or beside what is odd there.
func (h *hold) place(from, to string, over relation) error {
	if over == nothing {
		return h.link(from, to)
	}
	part := to + partSuffix
	if err := errors.Join(remove(part), h.link(from, part)); err != nil {
		return err
	}
	if over == odd {
		if err := os.Rename(to, to+oddSuffix); err != nil {
			return err
		}
	}
	return os.Rename(part, to)
}
