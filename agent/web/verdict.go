// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"math"
	"strings"
	"time"

	"torchbearer/agent/status"
)

// From when on something needs attention.
const (
	oldBacklog  = 5 * time.Minute
	lowBudget   = 12 // hours
	skewedClock = time.Minute
	recentError = 10 * time.Minute
)

// The levels of a verdict, in the order of how bad they are.
const (
	levelGood = "good"
	levelWarn = "warn"
	levelBad  = "bad"
	levelNone = "none" // neither good nor bad
)

// verdict says in one glance how the agent is, and why.
type verdict struct {
	Level   string
	Title   string
	Reasons []reason
}

// reason is one thing that is not as it should be.
type reason struct {
	Level string
	Text  string
	Page  string // relative, where it is seen
	See   string // what that page is called
}

func (v *verdict) add(level, page, see, format string, args ...any) {
	v.Reasons = append(v.Reasons, reason{level, fmt.Sprintf(format, args...), page, see})
	if level == levelBad || v.Level == levelGood {
		v.Level = level
	}
}

// judge gives the verdict. Lost is what each destination lost within the last hour.
func judge(l *look, lost map[string]int64) verdict {
	v := verdict{Level: levelGood, Title: "All is well"}
	if l.About.NotReady != "" {
		v.add(levelBad, "log", "Log", "Not ready yet: %s.", words(l.About.NotReady))
	}
	if l.About.Notice != "" {
		v.add(levelBad, "config", "Config", "%s", words(strings.TrimSpace(l.About.Notice)))
	}
	judgeTargets(&v, l)
	if len(l.Destinations) == 0 && l.About.NotReady == "" {
		v.add(levelWarn, "config", "Config", "Nothing is sent anywhere: the config names no remote_write destination.")
	}
	for i := range l.Destinations {
		judgeDestination(&v, l, &l.Destinations[i], lost[l.Destinations[i].Name])
	}
	judgeSeries(&v, &l.Series)
	errors := 0
	for _, line := range l.Log {
		if line.Level == "error" && l.Now.Sub(line.Time) < recentError {
			errors++
		}
	}
	if errors > 0 {
		v.add(levelWarn, "log?level=error", "Log", "%s in the log within the last %s.", plural(int64(errors), "error"), span(recentError))
	}
	switch {
	case l.About.NotReady != "":
		v.Title = "Not ready"
	case len(v.Reasons) > 0:
		v.Title = "Needs attention"
	}
	return v
}

func judgeTargets(v *verdict, l *look) {
	var jobs []string
	here := false
	for _, j := range l.Jobs {
		here = here || j.Scraped
		if j.Down > 0 {
			jobs = append(jobs, fmt.Sprintf("%s (%s)", brief(j.Name), count(int64(j.Down))))
		}
	}
	if more := len(jobs) - 5; more > 0 {
		jobs = append(jobs[:5], "and "+plural(int64(more), "other job"))
	}
	if l.Targets.Down > 0 {
		verb := "do"
		if l.Targets.Down == 1 {
			verb = "does"
		}
		v.add(levelBad, "targets?health=down", "Targets", "%s of %s %s not answer as a target should: %s.", count(int64(l.Targets.Down)),
			plural(int64(l.Targets.Active()), "target"), verb, strings.Join(jobs, ", "))
	}
	if l.Targets.Active() == 0 && here && l.About.NotReady == "" {
		v.add(levelWarn, "service-discovery", "Service discovery", "Nothing is scraped: no job has found a target.")
	}
}

func judgeDestination(v *verdict, l *look, d *status.Destination, lost int64) {
	page, name := "destinations#"+anchor(d.Name), brief(d.Name)
	add := func(level, format string, args ...any) {
		v.add(level, page, "Destinations", "%s", name+" "+fmt.Sprintf(format, args...))
	}
	switch {
	case d.ParkedSince != nil:
		add(levelBad, "has not been ready to receive for %s: %s.%s", l.since(d.ParkedSince).For(), endless(d.LastError), waiting(d))
	case d.FailingSince != nil:
		add(levelBad, "cannot be reached, or answers with an error, for %s: %s.%s", l.since(d.FailingSince).For(), endless(d.LastError), waiting(d))
	case d.BacklogSeconds > oldBacklog.Seconds():
		add(levelWarn, "is behind: the oldest sample that it has not got is %s old.", seconds(d.BacklogSeconds))
	}
	if lost > 0 {
		add(levelBad, "lost %s within the last hour, for good.", plural(lost, "sample"))
	}
	if d.BudgetHours != nil && *d.BudgetHours < lowBudget {
		add(levelWarn, "may begin to lose samples in an outage of %s: then the disk budget is spent.", seconds(*d.BudgetHours*3600))
	}
	if offset := d.ClockOffsetSeconds; offset != nil && math.Abs(*offset) > skewedClock.Seconds() {
		way := "ahead of"
		if *offset < 0 {
			way = "behind"
		}
		add(levelWarn, "has a clock that is %s %s this machine's.", seconds(math.Abs(*offset)), way)
	}
}

// judgeSeries says which new series are refused, and which job adds most.
func judgeSeries(v *verdict, s *status.Series) {
	var most status.JobSeries
	var full []string
	for _, j := range s.Jobs {
		if j.Added > most.Added {
			most = j
		}
		if j.Limit > 0 && j.Active >= j.Limit && j.Refused > 0 {
			full = append(full, fmt.Sprintf("%s (%s)", brief(j.Job), count(j.Limit)))
		}
	}
	if s.Closed != "" {
		text := fmt.Sprintf("New series are refused: %s.", words(s.Closed))
		if most.Added > 0 {
			text += fmt.Sprintf(" Job %s has added most within the last hour: %s.", brief(most.Job), count(most.Added))
		}
		v.add(levelBad, "series", "Series", "%s", text)
	}
	if more := len(full) - 5; more > 0 {
		full = append(full[:5], "and "+plural(int64(more), "other job"))
	}
	if len(full) > 0 {
		v.add(levelBad, "series", "Series", "New series are refused of jobs that have as many as their limit: %s.", strings.Join(full, ", "))
	}
}

// endless is an error's text without the full stop that follows it.
func endless(text string) string {
	if text == "" {
		return "it gave no reason"
	}
	return strings.TrimRight(trouble(text), ". \n")
}

// waiting says what is kept for a destination that cannot be sent to.
func waiting(d *status.Destination) string {
	text := plural(d.Ledger.Pending, "sample") + " wait on disk for it."
	if d.Ledger.Pending == 1 {
		text = "1 sample waits on disk for it."
	}
	if total(d.Ledger.Lost) == 0 {
		return " Nothing is lost: " + text
	}
	return " " + text
}

// total is the sum of what is counted by reason.
func total(by map[string]int64) (sum int64) {
	for _, n := range by {
		sum += n
	}
	return sum
}
