// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"time"

	"github.com/prometheus/prometheus/tsdb/chunks"

	"torchbearer/agent/logged"
)

// Log is what is shipped from. Its methods may be called concurrently.
type Log interface {
	// Begin and End are where what is held begins, and where it ends.
	Begin() logged.Position
	End() logged.Position
	// Size is how many bytes are held from a position on.
	Size(from logged.Position) int64
	// Budget is how long the log can be held whole if nothing of it is let go; it
	// may not be known.
	Budget() (left time.Duration, known bool)
	// Read reads from a position on.
	Read(from logged.Position) Reader
	// Skim is Read for who only counts: Series finds nothing, which saves the
	// memory for them.
	Skim(from logged.Position) Reader
	// Claim holds everything from a position on. giveUp is called when what is
	// before a position must go all the same, for the reason given; it goes when
	// the call returns.
	Claim(from logged.Position, giveUp func(to logged.Position, reason string)) Claim
}

// Reader reads the log record by record. It is for one goroutine.
type Reader interface {
	// Next reads the next record that has anything to ship into b. It never
	// waits: false is that there is none for now.
	Next(b *logged.Batch) bool
	// Position is behind everything that Next has read.
	Position() logged.Position
	// Series gives the labels of a ref of the batch read last.
	Series(ref chunks.HeadSeriesRef) (logged.Series, bool)
	Close() error
}

// Claim is the hold on the log that one destination has.
type Claim interface {
	// Move lets go of what is before a position.
	Move(to logged.Position)
	Drop()
}
