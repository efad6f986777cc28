// SPDX-License-Identifier: Apache-2.0

// Package status has the words in which the stages tell people how they are: what
// the API answers as JSON and what the pages show. It has no behaviour of its
// own, so that a stage and who shows it need not know each other.
package status

import "time"

// Destination is how a remote_write destination is.
type Destination struct {
	Name     string `json:"name"`
	URL      string `json:"url"` // without user and password
	Protocol string `json:"protocol"`
	// SentUntil is the place in the log before which everything has its answer.
	SentUntil string `json:"sentUntil"`
	// Pending counts samples that have no answer yet, as in Ledger.
	Pending  int    `json:"pending"`
	InFlight int    `json:"inFlight"` // requests
	Ledger   Ledger `json:"ledger"`
	// BacklogBytes is how much of the log on disk the destination has not been
	// sent, and BacklogSeconds how old the oldest of that is; of samples that were
	// old when they were scraped, for how long they may have been waiting.
	BacklogBytes   int64   `json:"backlogBytes"`
	BacklogSeconds float64 `json:"backlogSeconds"`
	// OldestPending is the timestamp of the oldest sample without an answer.
	OldestPending *time.Time `json:"oldestPending,omitempty"`
	// BudgetHours is how long the disk budget lasts at the present rate when
	// nothing more is sent; nil when that cannot be told yet.
	BudgetHours *float64   `json:"budgetHours,omitempty"`
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	// LastError is what went wrong last, in the receiver's words if it said any.
	LastError    string     `json:"lastError,omitempty"`
	LastErrorAt  *time.Time `json:"lastErrorAt,omitempty"`
	FailingSince *time.Time `json:"failingSince,omitempty"`
	// ParkedSince is since when what answers is no receiver that is ready.
	ParkedSince *time.Time `json:"parkedSince,omitempty"`
	// ClockOffsetSeconds is by how much the receiver's clock, as its answers say,
	// is ahead of this one; nil when it did not say.
	ClockOffsetSeconds *float64 `json:"clockOffsetSeconds,omitempty"`
	// Refused are the last refusals for good, the newest first.
	Refused []Refusal `json:"refused"`
}

// Ledger is what became of the samples and histograms of a destination since a
// moment, to the sample:
//
//	Scraped = Sent + Pending + sum of Lost + sum of LeftOut
type Ledger struct {
	Since time.Time `json:"since"`
	// Scraped is what was there for it: Inherited, what was logged since, and what
	// could not be logged.
	Scraped int64 `json:"scraped"`
	// Inherited was in the log already, not sent, when the process began.
	Inherited int64 `json:"inherited"`
	Sent      int64 `json:"sent"` // stored, as the receiver says
	Pending   int64 `json:"pending"`
	// Counting is that Inherited, and so Scraped and Pending, is still being
	// counted: they are lower bounds until then.
	Counting bool `json:"counting,omitempty"`
	// Lost is by reason, of a closed list; all reasons are there.
	Lost map[string]int64 `json:"lost"`
	// LeftOut is what the config does not want sent, by reason, the same.
	LeftOut map[string]int64 `json:"leftOut"`
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
