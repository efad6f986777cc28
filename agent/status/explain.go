// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// TargetExplanation is what an agent knows of a job, a target or a pod: which
// jobs see it, and what became of it there.
type TargetExplanation struct {
	Query   string        `json:"query"`
	Verdict string        `json:"verdict"` // the whole in one sentence
	Matches []TargetMatch `json:"matches"` // the discovered targets that the query names
	Total   int           `json:"total"`   // how many there are
	// Truncated is that Matches are not all of them.
	Truncated bool      `json:"truncated"`
	Jobs      []JobView `json:"jobs"` // every job of the config, in its order
}

// The states of a TargetMatch.
const (
	TargetScraped = "scraped"
	TargetDropped = "dropped" // by a relabelling rule
	TargetInvalid = "invalid" // kept by the rules, but nothing that can be scraped: Verdict says why
	TargetPending = "pending" // discovered just now, not taken up yet
)

// TargetMatch is a discovered target and how it came to what it is.
type TargetMatch struct {
	Job     string `json:"job"`
	State   string `json:"state"`
	Verdict string `json:"verdict"`       // one sentence for people
	URL     string `json:"url,omitempty"` // "" when it is not scraped; secrets hidden
	Health  string `json:"health,omitempty"`
	// LastError is of the last scrape.
	LastError  string            `json:"lastError,omitempty"`
	LastScrape *time.Time        `json:"lastScrape,omitempty"`
	Before     map[string]string `json:"before"` // labels as discovered
	Steps      []RelabelStep     `json:"steps"`  // of relabel_configs, up to the one that dropped it
	After      map[string]string `json:"after"`  // labels that its series get; empty when it is not scraped
}

// RelabelStep is what one rule did to a set of labels.
type RelabelStep struct {
	Rule    int           `json:"rule"` // its number in the config, from 1
	Text    string        `json:"text"` // the rule, as YAML on one line
	Dropped bool          `json:"dropped"`
	Source  []LabelValue  `json:"source"`  // what the rule looked at
	Changes []LabelChange `json:"changes"` // sorted by name
	// Omitted is how many changes are left out of Changes.
	Omitted int `json:"omitted,omitempty"`
}

// LabelValue is a label with its value, "" being that there is none.
type LabelValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// LabelChange is a label that a rule set, changed or removed. "" is no label.
type LabelChange struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// JobView is how a job stands to what was asked for.
type JobView struct {
	Job     string `json:"job"`
	Scope   string `json:"scope"`
	Scraped bool   `json:"scraped"`      // here, all of it or this node's part
	By      string `json:"by,omitempty"` // the agent that scrapes it, if not this one and if known
	Reason  string `json:"reason"`       // of Scraped
	// Sees is how many of the job's targets the query names, of Found.
	Sees    int    `json:"sees"`
	Found   int    `json:"found"`
	Dropped int    `json:"dropped"` // by relabelling, of Found
	Verdict string `json:"verdict"` // why the job does or does not see it
}

// MetricExplanation is what an agent does to the samples of a metric, from the
// targets that expose it to the destinations that get it.
type MetricExplanation struct {
	Name         string              `json:"name"`
	Job          string              `json:"job,omitempty"` // asked for only; "" is all
	Verdict      string              `json:"verdict"`       // the whole in one sentence
	Jobs         []MetricJob         `json:"jobs"`
	Destinations []MetricDestination `json:"destinations"`
}

// MetricJob is what a job does to a metric. To tell it, some of its targets were
// asked anew when the question came: what they said was not stored.
type MetricJob struct {
	Job     string `json:"job"`
	Verdict string `json:"verdict"`
	Scraped bool   `json:"scraped"`      // by this agent
	By      string `json:"by,omitempty"` // who scrapes it, if not this one and if known
	// Targets is how many the job has, Asked how many of them were asked,
	// Exposing how many of the asked expose the metric.
	Targets  int      `json:"targets"`
	Asked    int      `json:"asked"`
	Exposing int      `json:"exposing"`
	Errors   []string `json:"errors"` // of those that could not be asked
	// Samples of the metric that the asked targets exposed, and how many were
	// left after the rules.
	Samples int `json:"samples"`
	Kept    int `json:"kept"`
	// SinceStart is what became of all samples of the job, not of the metric only.
	SinceStart MetricTotals    `json:"sinceStart"`
	Rules      []MetricRule    `json:"rules"`  // metric_relabel_configs
	Series     []MetricExample `json:"series"` // some, as they were exposed and what became of them
}

// MetricTotals are exact: what the scrapes of a job that succeeded brought.
type MetricTotals struct {
	Since   time.Time `json:"since"` // the start, or when the job's rules changed last
	Scraped int64     `json:"scraped"`
	Dropped int64     `json:"dropped"` // by metric_relabel_configs
}

// MetricRule is a rule of metric_relabel_configs or write_relabel_configs and
// what it dropped.
type MetricRule struct {
	Rule int    `json:"rule"` // its number in the config, from 1
	Text string `json:"text"` // the rule, as YAML on one line
	// Dropped is of all samples, since the totals' Since. When not Exact it is
	// the rule's share of the exact total, as the asked targets show it.
	Dropped int64 `json:"dropped"`
	Exact   bool  `json:"exact"`
	// Unknown is that Dropped cannot be told: no asked target shows a share.
	Unknown bool `json:"unknown,omitempty"`
	// Metric is how many samples of the metric the rule dropped in one scrape of
	// the asked targets, and Now how many of all.
	Metric int `json:"metric"`
	Now    int `json:"now"`
}

// MetricDestination is what a destination's write_relabel_configs do to a metric.
type MetricDestination struct {
	Name    string       `json:"name"`
	URL     string       `json:"url"` // without user and password
	Verdict string       `json:"verdict"`
	Since   time.Time    `json:"since"` // of the counts of Rules
	Rules   []MetricRule `json:"rules"` // write_relabel_configs
	// Samples of the metric, of the asked targets, that came to the rules, and
	// how many were left.
	Samples int             `json:"samples"`
	Kept    int             `json:"kept"`
	Series  []MetricExample `json:"series"`
}

// MetricExample is a series, step by step. Before is as it came to the rules.
type MetricExample struct {
	Target  string            `json:"target,omitempty"` // its URL
	Before  map[string]string `json:"before"`
	Steps   []RelabelStep     `json:"steps"`
	After   map[string]string `json:"after"` // empty when it was dropped
	Dropped bool              `json:"dropped"`
}
