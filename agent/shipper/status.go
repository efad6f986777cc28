// SPDX-License-Identifier: Apache-2.0

package shipper

import "time"

// Status is how a destination is, for people.
type Status struct {
	Name     string `json:"name"`
	URL      string `json:"url"` // without user and password
	Protocol string `json:"protocol"`
	// SentUntil is the place in the log before which everything has its answer.
	SentUntil string `json:"sentUntil"`
	// Pending counts samples logged by this process that have no answer yet.
	Pending     int        `json:"pending"`
	InFlight    int        `json:"inFlight"` // requests
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	// LastError is what went wrong last, in the receiver's words if it said any.
	LastError    string     `json:"lastError,omitempty"`
	LastErrorAt  *time.Time `json:"lastErrorAt,omitempty"`
	FailingSince *time.Time `json:"failingSince,omitempty"`
	// ParkedSince is since when what answers is no receiver that is ready.
	ParkedSince *time.Time `json:"parkedSince,omitempty"`
	// Refused are the last refusals for good, the newest first.
	Refused []Refusal `json:"refused"`
}

// Refusal is what a receiver would not take.
type Refusal struct {
	Time    time.Time `json:"time"`
	Reason  string    `json:"reason"`
	Status  int       `json:"status"` // of HTTP
	Words   string    `json:"words"`  // the receiver's
	Series  string    `json:"series,omitempty"`
	Samples int       `json:"samples"`
}

// Status tells of all destinations, in the order of the config.
func (s *Shipper) Status() []Status {
	all := []Status{}
	for _, d := range *s.running.Load() {
		all = append(all, d.status())
	}
	return all
}

func (d *destination) status() Status {
	set, now := d.set.Load(), d.sender.state.snapshot()
	st := Status{
		Name: set.name, URL: set.url, Protocol: "1.0",
		SentUntil: d.sentUntil().String(), Pending: int(d.pending()), InFlight: now.InFlight,
		LastSuccess: orNil(now.LastSuccess), LastError: now.LastError, LastErrorAt: orNil(now.LastErrorAt),
		FailingSince: orNil(now.FailingSince), ParkedSince: orNil(now.ParkedSince),
		Refused: []Refusal{},
	}
	if set.v2 && !d.sender.fellBack(set) {
		st.Protocol = "2.0"
	}
	for _, r := range d.sender.refused.snapshot() {
		st.Refused = append(st.Refused, Refusal(r))
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
