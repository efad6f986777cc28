// SPDX-License-Identifier: Apache-2.0

package agent

import (
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

// Read implements shipper.Log.
func (s *source) Read(from logged.Position) shipper.Reader { return s.wal.Reader(from) }

// Claim implements shipper.Log.
func (s *source) Claim(from logged.Position, giveUp func(logged.Position, string)) shipper.Claim {
	return s.wal.Claim(from, giveUp)
}
