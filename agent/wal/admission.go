// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"
)

// Limits bound the active series. A series that is active goes on, whatever the
// limits are: only what would become active is refused.
type Limits struct {
	MaxSeries int            // of all jobs together; 0 is no limit
	Jobs      map[string]int // those of the config, each with its own limit; 0 is none
	// Idle is how long after its last sample a series is active; 5 minutes by
	// default. It must be longer than the longest scrape interval.
	Idle time.Duration
}

const defaultIdle = 5 * time.Minute

// keepIndex is for how long the index stays that nobody asks.
const keepIndex = 5 * time.Minute

// refusal is why a new series is refused.
type refusal int

const (
	admitted   refusal = iota - 1
	refusedJob         // the first of a closed list
	refusedMax
	refusedMemory
	refusals // how many there are
)

func (r refusal) String() string {
	switch r {
	case refusedJob:
		return "job_max_series"
	case refusedMax:
		return "max_series"
	case refusedMemory:
		return "memory"
	default:
		return ""
	}
}

// words are for people, "" of admitted.
func (r refusal) words() string {
	switch r {
	case refusedJob:
		return "the job has as many as its limit in agent.limits"
	case refusedMax:
		return "there are as many as agent.limits.max_series"
	case refusedMemory:
		return "hardly any memory is left for them"
	default:
		return ""
	}
}

func (r refusal) remedy() string {
	switch r {
	case refusedJob:
		return "drop what the job need not expose with metric_relabel_configs, or raise its limit in agent.limits"
	case refusedMax:
		return "drop what need not be exposed with metric_relabel_configs, give the job a limit of its own in agent.limits, or raise agent.limits.max_series"
	default:
		return "give the agent more memory, drop what need not be exposed with metric_relabel_configs, or limit the job in agent.limits"
	}
}

// admission decides which series may become active.
type admission struct {
	table *table
	jobs  *jobs
	full  func(created int64) bool
	now   func() time.Time

	max    atomic.Int64 // active series, 0 is no limit
	idle   atomic.Int64 // a time.Duration
	strict atomic.Bool  // there is a limit

	// mu is held, while there is a limit or one is reached, from the decision on
	// until the series is noted: so no limit is overrun by two at once.
	mu sync.Mutex
}

func (ad *admission) apply(l Limits, longest time.Duration) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if l.Idle <= 0 {
		l.Idle = defaultIdle
	}
	strict := l.MaxSeries > 0
	for _, limit := range l.Jobs {
		strict = strict || limit > 0
	}
	ad.max.Store(int64(l.MaxSeries))
	ad.idle.Store(int64(min(l.Idle, longest)))
	ad.strict.Store(strict)
}

// enter locks if need be, and says so.
func (ad *admission) enter() (locked bool) {
	if !ad.strict.Load() && !ad.full(ad.table.created.Load()) {
		return false
	}
	ad.mu.Lock()
	return true
}

// admit decides over a sample of a series that, as far as its ref tells, is not
// active, between enter and noting it.
func (ad *admission) admit(j *job, ls labels.Labels, locked bool) refusal {
	why := ad.closed(j)
	if why == admitted || !locked || ad.knows(ls) {
		return admitted
	}
	return why
}

// closed says why a series of a job cannot become active at the moment.
func (ad *admission) closed(j *job) refusal {
	if limit := j.limit.Load(); limit > 0 && j.active.Load() >= limit {
		return refusedJob
	}
	why := ad.closedToAll()
	if why == refusedMemory && ad.isSmall(j) {
		return admitted
	}
	return why
}

// smallShare is the part of an even share of the active series, one of so many,
// that each job may have when memory is closed to all: after a start the memory
// would else be whose job is scraped first. All jobs together add no more than
// that part.
const smallShare = 8

func (ad *admission) isSmall(j *job) bool {
	return j.active.Load()*ad.jobs.count()*smallShare < ad.table.active.Load()
}

func (ad *admission) closedToAll() refusal {
	if limit := ad.max.Load(); limit > 0 && ad.table.active.Load() >= limit {
		return refusedMax
	}
	if ad.full(ad.table.created.Load()) {
		return refusedMemory
	}
	return admitted
}

// knows finds an active series by its labels, while mu is held: a scrape that
// has forgotten the ref of a series brings it like a new one.
func (ad *admission) knows(ls labels.Labels) bool {
	ix := ad.table.index.Load()
	if ix == nil {
		ix = ad.table.makeIndex()
	}
	ix.asked = ad.now()
	return ix.has(ls)
}

// age lets go of the index when it is not asked any more.
func (ad *admission) age(now time.Time) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if ix := ad.table.index.Load(); ix != nil && now.Sub(ix.asked) >= keepIndex {
		ad.table.index.Store(nil)
	}
}

// Limit applies limits, at once.
func (l *Log) Limit(limits Limits) {
	l.admission.apply(limits, l.opts.MaxTime)
	l.jobs.apply(limits, l.opts.Now())
}

// refused counts what a scrape brought of new series over a limit.
func (l *Log) refused(j *job, counts *[refusals]int) {
	for why, n := range counts {
		if n == 0 {
			continue
		}
		j.refused[why].Add(int64(n))
		if !j.toTell(l.opts.Now()) {
			continue
		}
		most, added := l.jobs.most()
		level.Warn(l.opts.Logger).Log("msg", "new series are refused; those that are being scraped go on", "job", j.name,
			"reason", refusal(why), "samples", n, "series_of_job", j.active.Load(), "limit_of_job", j.limit.Load(),
			"series", l.table.active.Load(), "limit", l.admission.max.Load(),
			"most_new_series", most, "new_in_last_hour", added, "remedy", refusal(why).remedy())
	}
}
