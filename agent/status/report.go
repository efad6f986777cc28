// SPDX-License-Identifier: Apache-2.0

package status

// Verdicts of a Report.
const (
	VerdictGood     = "good"
	VerdictWarnings = "warnings"
	VerdictBad      = "bad" // the config is refused; only Violations are told
)

// Report is what a config would do where it was checked, found out without doing
// it: nothing was logged, sent or changed. Lists are bounded; what counts is not.
type Report struct {
	Verdict    string            `json:"verdict"`
	File       string            `json:"file"`
	Hash       string            `json:"hash,omitempty"` // of the config
	Labels     map[string]string `json:"externalLabels"`
	Seconds    float64           `json:"seconds"`    // that the check took
	CutOff     []string          `json:"cutOff"`     // what the time was not enough for
	Violations []string          `json:"violations"` // all that is wrong with the config
	Findings   []Finding         `json:"findings"`   // warnings before hints
	Scopes     Scopes            `json:"scopes"`     // who owns which job
	Jobs       []ReportJob       `json:"jobs"`       // in the order of the config
	Series     ReportSeries      `json:"series"`
	// Collisions are series that more than one target makes, or one target twice,
	// by who makes them.
	Collisions []ReportCollision `json:"collisions"`
	// Spoofed are mandatory labels that targets brought along.
	Spoofed      []ReportSpoofed     `json:"spoofed"`
	Destinations []ReportDestination `json:"destinations"`
	Changes      *ReportChanges      `json:"changes,omitempty"` // nil: there was nothing to compare with
}

// Levels of a Finding.
const (
	LevelWarning = "warning"
	LevelHint    = "hint"
)

// Finding is something that people should know. Its Kind is of a closed list.
type Finding struct {
	Level  string `json:"level"`
	Kind   string `json:"kind"`
	Job    string `json:"job,omitempty"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// ReportJob is what a job does here.
type ReportJob struct {
	Job     string `json:"job"`
	Scope   string `json:"scope"`
	Scraped bool   `json:"scraped"`      // its targets were looked at
	By      string `json:"by,omitempty"` // the agent that scrapes it, if not this one and if known
	Reason  string `json:"reason"`

	Targets       ReportTargets  `json:"targets"`
	Rules         []ReportRule   `json:"relabelRules"`
	Samples       ReportSamples  `json:"samples"`
	MetricRules   []ReportRule   `json:"metricRelabelRules"`
	Series        int            `json:"series"`                  // distinct, as they are logged, up and the like included
	SeriesLimit   int            `json:"seriesLimit,omitempty"`   // of the job
	BodyBytes     int64          `json:"bodyBytes"`               // uncompressed, of all targets
	LargestBody   int64          `json:"largestBody"`             // of one
	SlowestScrape float64        `json:"slowestScrapeSeconds"`    // of one
	Failures      []ReportFailed `json:"failures"`                // the first ones, by error
	SilentSD      []string       `json:"silentSD"`                // kinds of discovery that sent nothing in time
	ClientError   string         `json:"clientError,omitempty"`   // why the job cannot be scraped at all
	InvalidTarget string         `json:"invalidTarget,omitempty"` // why a target is none, the first one
}

// ReportTargets counts the targets of a job:
//
//	Discovered = Dropped + Invalid + Duplicate + Kept
//	Kept = Up + Down + NotAsked
type ReportTargets struct {
	Discovered int `json:"discovered"`
	Dropped    int `json:"dropped"`   // by a rule
	Invalid    int `json:"invalid"`   // after the rules
	Duplicate  int `json:"duplicate"` // the same labels and URL as another of the job
	Kept       int `json:"kept"`
	Up         int `json:"up"`
	Down       int `json:"down"`
	NotAsked   int `json:"notAsked"` // the time was over
}

// ReportSamples counts the samples of one scrape of each target of a job, without
// those that the agent adds to each scrape:
//
//	Scraped = Dropped + Repeated + Kept, of the targets that are up
type ReportSamples struct {
	Scraped  int `json:"scraped"`
	Dropped  int `json:"dropped"`  // by a metric rule
	Repeated int `json:"repeated"` // the same series twice in one answer, and what is too far in the future
	Kept     int `json:"kept"`
}

// ReportRule is what one relabelling rule does with what reaches it: targets,
// samples, or the series of a destination.
type ReportRule struct {
	Rule    int    `json:"rule"` // its number, from 1
	Text    string `json:"text"`
	Seen    int    `json:"seen"`
	Matched int    `json:"matched"` // its regex, or its comparison, holds; or it changed a label
	Dropped int    `json:"dropped"`
	// Example is one of what was dropped.
	Example string `json:"example,omitempty"`
}

// ReportFailed is an error with the targets that have it.
type ReportFailed struct {
	Error   string   `json:"error"`
	Count   int      `json:"count"`
	Targets []string `json:"targets"` // URLs of the first ones
}

// ReportSeries is what the agent would have to carry.
type ReportSeries struct {
	Total int `json:"total"` // distinct, of all jobs looked at
	Limit int `json:"limit"` // agent.limits.max_series, 0 for none
	// Running is how many are active in the running agent, nil when that is not known.
	Running *int64 `json:"running,omitempty"`
	// Forecast is Total and, for targets that did not answer or were not asked, as
	// many as the others of their job have on average.
	Forecast int `json:"forecast"`
}

// ReportCollision is series that two jobs, or one with itself, make twice.
type ReportCollision struct {
	Jobs       []string `json:"jobs"`
	SameScrape bool     `json:"sameScrape"` // one target makes them twice in one scrape
	Series     int      `json:"series"`

	Examples []string `json:"examples"` // labels of the first ones
	Between  []string `json:"between"`  // URLs of the first two targets
}

// ReportSpoofed is a mandatory label that the targets of a job set themselves. It
// is kept as exported_<label>.
type ReportSpoofed struct {
	Job     string `json:"job"`
	Label   string `json:"label"`
	Samples int    `json:"samples"`
	Targets int    `json:"targets"`
	// Relabelled is that relabelling or discovery put it on the target, and not
	// the target on its samples.
	Relabelled bool     `json:"relabelled"`
	Values     []string `json:"values"` // the first ones
}

// How a destination answered.
const (
	ProbeOK          = "ok"
	ProbeAuth        = "auth refused"
	ProbeNotFound    = "not found"
	ProbeRefused     = "refused" // the receiver does not take it, for another reason
	ProbeBusy        = "busy"    // it is there, and cannot now
	ProbeUnreachable = "unreachable"
	ProbeTLS         = "TLS"
)

// ReportDestination is what a destination answered to an empty write, and what
// of the series would be sent to it.
type ReportDestination struct {
	Name     string       `json:"name"`
	URL      string       `json:"url"` // without secrets
	Protocol string       `json:"protocol"`
	Verdict  string       `json:"verdict"`
	Status   int          `json:"status"` // of HTTP, 0 without an answer
	Seconds  float64      `json:"seconds"`
	Words    string       `json:"words,omitempty"` // the receiver's
	Note     string       `json:"note,omitempty"`  // what follows from it
	Rules    []ReportRule `json:"writeRelabelRules"`
	Series   int          `json:"series"` // that it would be sent
}

// ReportChanges is what differs from the config that runs.
type ReportChanges struct {
	Against      string         `json:"against"` // what it was compared with
	Same         bool           `json:"same"`    // nothing differs
	Labels       []ReportChange `json:"externalLabels"`
	Jobs         []ReportChange `json:"jobs"`
	Destinations []ReportChange `json:"destinations"`
	Other        []string       `json:"other"` // other settings that differ
	Counts       []ReportCount  `json:"counts"`
}

// ReportChange is one thing that was added, removed or changed.
type ReportChange struct {
	Name   string   `json:"name"`
	Change string   `json:"change"` // added, removed, changed
	Fields []string `json:"fields"` // that differ
}

// ReportCount compares a job's counts with those of the running agent; nil is
// not known.
type ReportCount struct {
	Job            string `json:"job"`
	Targets        *int   `json:"targets,omitempty"`
	TargetsRunning *int   `json:"targetsRunning,omitempty"`
	Series         *int64 `json:"series,omitempty"`
	SeriesRunning  *int64 `json:"seriesRunning,omitempty"`
}
