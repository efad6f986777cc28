// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"fmt"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Why a part of the log could not be read.
const (
	reasonTorn           = "torn"            // its end was never written
	reasonChecksum       = "checksum"        // other bytes than were written
	reasonFormat         = "format"          // not what a segment is made of
	reasonTooLarge       = "too_large"       // more than any record is
	reasonUnreadable     = "unreadable"      // the disk does not give it
	reasonUndecodable    = "undecodable"     // a record that makes no sense, or is of a later version
	reasonUnknownSchema  = "unknown_schema"  // a histogram of a later version
	reasonMissingSegment = "missing_segment" // a gap in the numbers
)

// maxDamageRemembered bounds what is remembered of a log that is all damage.
const maxDamageRemembered = 4096

// heldFile names a segment that is held.
type heldFile struct {
	generation uint64
	checkpoint int // noCheckpoint for a segment of the log itself
	segment    int
}

const noCheckpoint = -1

// String is the path of the file in the hold.
func (f heldFile) String() string {
	if f.checkpoint == noCheckpoint {
		return fmt.Sprintf("%08d/%08d", f.generation, f.segment)
	}
	return fmt.Sprintf("%08d/checkpoint.%08d/%08d", f.generation, f.checkpoint, f.segment)
}

// damage counts what is damaged in the log: each place once, whoever reads it
// and however often. Its methods may be called concurrently.
type damage struct {
	records *prometheus.CounterVec
	logger  log.Logger

	mu      sync.Mutex
	counted map[damagedPlace]struct{}
	told    map[heldFile]struct{}
}

type damagedPlace struct {
	heldFile

	offset int64
}

func newDamage(reg prometheus.Registerer, logger log.Logger) *damage {
	d := &damage{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_wal_damaged_records_total",
			Help: "Places in the log that could not be read, by reason; what was there is lost.",
		}, []string{"reason"}),
		logger: logger, counted: map[damagedPlace]struct{}{}, told: map[heldFile]struct{}{},
	}
	for _, r := range []string{
		reasonTorn, reasonChecksum, reasonFormat, reasonTooLarge, reasonUnreadable,
		reasonUndecodable, reasonUnknownSchema, reasonMissingSegment,
	} {
		d.records.WithLabelValues(r)
	}
	reg.MustRegister(d.records)
	return d
}

// found counts n of what is damaged at a place, and tells of the first of a
// file.
func (d *damage) found(f heldFile, offset int64, reason string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.counted) >= maxDamageRemembered {
		clear(d.counted)
	}
	if len(d.told) >= maxDamageRemembered {
		clear(d.told)
	}
	at := damagedPlace{f, offset}
	if _, ok := d.counted[at]; ok {
		return
	}
	d.counted[at] = struct{}{}
	d.records.WithLabelValues(reason).Add(float64(n))
	if _, ok := d.told[f]; ok {
		return
	}
	d.told[f] = struct{}{}
	level.Warn(d.logger).Log("msg", "a part of the log is damaged and left out; more of the same segment is counted only",
		"segment", f.String(), "offset", offset, "reason", reason)
}

// in is found for one file.
func (d *damage) in(f heldFile) func(reason string, offset int64) {
	return func(reason string, offset int64) { d.found(f, offset, reason, 1) }
}
