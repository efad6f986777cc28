// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// Series is who makes the active series of an agent.
type Series struct {
	Active int64 `json:"active"`
	// Limit is agent.limits.max_series, 0 for none; Closed is why new series are
	// refused at present, "" when they are not.
	Limit   int64         `json:"limit"`
	Closed  string        `json:"closed,omitempty"`
	Refused int64         `json:"refused"` // new series' samples, since the start
	Jobs    []JobSeries   `json:"jobs"`    // most series first
	Metrics []MetricCount `json:"metrics"` // most series first, the first ones
}

// JobSeries is what a job has of them.
type JobSeries struct {
	Job     string `json:"job"`
	Active  int64  `json:"active"`
	Limit   int64  `json:"limit"`   // of the job, 0 for none
	Added   int64  `json:"added"`   // series that were new, in the last hour or since the start
	Refused int64  `json:"refused"` // samples of new series that were refused, since the start
}

// MetricCount is how many series a metric of a job has.
type MetricCount struct {
	Metric string `json:"metric"`
	Job    string `json:"job"`
	Series int64  `json:"series"`
}

// LogLine is a line of the log.
type LogLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // warn or error
	Text  string    `json:"text"`  // logfmt, without time and level; secrets hidden
}
