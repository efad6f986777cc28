// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"time"

	"torchbearer/agent/logged"
	"torchbearer/agent/shipper"
)

// source is the log as the shipper sees it.
type source Agent

var _ shipper.Log = (*source)(nil)

// Begin implements shipper.Log.
func (s *source) Begin() logged.Position { return s.wal.Begin() }

// End implements shipper.Log.
func (s *source) End() logged.Position { return s.wal.End() }

// Size implements shipper.Log.
func (s *source) Size(from logged.Position) int64 { return s.wal.Size(from) }

// Budget implements shipper.Log.
func (s *source) Budget() (left time.Duration, known bool) { return s.wal.Budget() }

// Skim implements shipper.Log.
func (s *source) Skim(from logged.Position) shipper.Reader { return s.wal.Skimmer(from) }

// Read implements shipper.Log.
func (s *source) Read(from logged.Position) shipper.Reader { return s.wal.Reader(from) }

// Claim implements shipper.Log.
func (s *source) Claim(from logged.Position, giveUp func(logged.Position, string)) shipper.Claim {
	return s.wal.Claim(from, giveUp)
}
