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
		all = append(all, d.status())
	}
	return all
}

func (d *destination) status() status.Destination {
	set, now := d.set.Load(), d.sender.state.snapshot()
	st := status.Destination{
		Name: set.name, URL: set.url, Protocol: "1.0",
		SentUntil: d.sentUntil().String(), Pending: int(d.pending()), InFlight: now.InFlight,
		LastSuccess: orNil(now.LastSuccess), LastError: now.LastError, LastErrorAt: orNil(now.LastErrorAt),
		FailingSince: orNil(now.FailingSince), ParkedSince: orNil(now.ParkedSince),
		Refused: []status.Refusal{},
	}
	if set.v2 && !d.sender.fellBack(set) {
		st.Protocol = "2.0"
	}
	for _, r := range d.sender.refused.snapshot() {
		st.Refused = append(st.Refused, status.Refusal(r))
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
