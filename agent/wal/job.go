// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ownJob is whose the series are that the agent appends about itself.
const ownJob = "torchbearer"

const (
	addedWithin = time.Hour
	markEvery   = 5 * time.Minute
	tellEvery   = 5 * time.Minute
)

// job counts the series of a scrape job. A series is active from its first
// sample on until none came for a while; all else of it is in the table.
type job struct {
	name    string
	limit   atomic.Int64 // of active, 0 is none
	active  atomic.Int64
	created atomic.Int64 // how many became active
	refused [refusals]atomic.Int64

	mu    sync.Mutex // guards the fields below
	gone  bool       // from the config
	marks []growth   // of about the last hour
	told  time.Time  // when it was last logged that series are refused
}

// growth is how many series a job had created at a time.
type growth struct {
	at      time.Time
	created int64
}

// mark remembers how many series there are at a time.
func (j *job) mark(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now.Sub(j.marks[len(j.marks)-1].at) >= markEvery {
		j.marks = append(j.marks, growth{now, j.created.Load()})
	}
	for len(j.marks) > 1 && now.Sub(j.marks[1].at) >= addedWithin {
		j.marks = slices.Delete(j.marks, 0, 1)
	}
}

// added is how many series were new within about the last hour.
func (j *job) added() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.created.Load() - j.marks[0].created
}

// toTell says whether it is time to log that series are refused.
func (j *job) toTell(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.told.IsZero() && now.Sub(j.told) < tellEvery {
		return false
	}
	j.told = now
	return true
}

func (j *job) allRefused() int64 {
	n := int64(0)
	for r := range j.refused {
		n += j.refused[r].Load()
	}
	return n
}

// jobs are those that have series, or that the config has.
type jobs struct {
	mu     sync.RWMutex
	byName map[string]*job
	limits Limits
}

// get returns the job of a name, a new one if need be.
func (js *jobs) get(name string, now time.Time) *job {
	js.mu.RLock()
	j := js.byName[name]
	js.mu.RUnlock()
	if j != nil {
		return j
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.make(name, now)
}

func (js *jobs) make(name string, now time.Time) *job {
	j := js.byName[name]
	if j == nil {
		j = &job{name: name, marks: []growth{{at: now}}}
		js.rule(j)
		js.byName[name] = j
	}
	return j
}

// rule gives a job what the limits say of it.
func (js *jobs) rule(j *job) {
	limit, known := js.limits.Jobs[j.name]
	j.limit.Store(int64(limit))
	j.mu.Lock()
	j.gone = !known && j.name != ownJob
	j.mu.Unlock()
}

// apply makes the jobs of limits, and no others, those of the config.
func (js *jobs) apply(limits Limits, now time.Time) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.limits = limits
	for name := range limits.Jobs {
		js.make(name, now)
	}
	for _, j := range js.byName {
		js.rule(j)
	}
}

// age marks the growth of all, and forgets those that the config has not and
// that have no active series.
func (js *jobs) age(now time.Time) {
	js.mu.Lock()
	defer js.mu.Unlock()
	for name, j := range js.byName {
		j.mark(now)
		j.mu.Lock()
		gone := j.gone
		j.mu.Unlock()
		if gone && j.active.Load() == 0 {
			delete(js.byName, name)
		}
	}
}

// most is the job that has the most new series within about the last hour.
func (js *jobs) most() (name string, added int64) {
	for _, j := range js.all() {
		if n := j.added(); n > added {
			name, added = j.name, n
		}
	}
	return name, added
}

func (js *jobs) count() int64 {
	js.mu.RLock()
	defer js.mu.RUnlock()
	return int64(len(js.byName))
}

// all returns the jobs in the order of their names.
func (js *jobs) all() []*job {
	js.mu.RLock()
	defer js.mu.RUnlock()
	all := make([]*job, 0, len(js.byName))
	for _, name := range slices.Sorted(maps.Keys(js.byName)) {
		all = append(all, js.byName[name])
	}
	return all
}
