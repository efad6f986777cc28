// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"time"

	"torchbearer/agent/status"
)

// Status tells of all destinations, in the order of the config.
func (s *Shipper) Status() []status.Destination {
	all := []status.Destination{}
	for _, d := range *s.running.Load() {
		st := d.status()
		for _, r := range d.sender.refused.snapshot() {
			st.Refused = append(st.Refused, status.Refusal(r))
		}
		all = append(all, st)
	}
	return all
}

// status has all but the refusals.
func (d *destination) status() status.Destination {
	set, now, sent := d.set.Load(), d.sender.state.snapshot(), d.sentUntil()
	st := status.Destination{
		Name: set.name, URL: set.url, Protocol: "1.0",
		SentUntil: sent.String(), InFlight: now.InFlight, Ledger: d.ledger.snapshot(),
		BacklogBytes: d.log.Size(sent),
		LastSuccess:  orNil(now.LastSuccess), LastError: now.LastError, LastErrorAt: orNil(now.LastErrorAt),
		FailingSince: orNil(now.FailingSince), ParkedSince: orNil(now.ParkedSince),
		Refused: []status.Refusal{},
	}
	st.Pending = int(st.Ledger.Pending)
	if set.v2 && !d.sender.fellBack(set) {
		st.Protocol = "2.0"
	}
	if oldest, waiting, ok := d.ledger.oldestPending(); ok && st.Pending > 0 {
		st.OldestPending = &oldest
		st.BacklogSeconds = waiting.Seconds()
	}
	if left, known := d.log.Budget(); known {
		hours := left.Hours()
		st.BudgetHours = &hours
	}
	if now.Offset.known {
		offset := now.Offset.by.Seconds()
		st.ClockOffsetSeconds = &offset
	}
	return st
}

// orNil is nil for no time.
func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
