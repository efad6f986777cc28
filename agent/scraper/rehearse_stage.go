// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// rehearsalStage stands where the log stands else.
type rehearsalStage struct {
	ctx   context.Context
	slots chan struct{} // one taken for each scrape under way
	taste func(labels.Labels)
	guard *guard
	jobs  map[string]*rehearsedJob
	order []string

	mu         sync.Mutex // guards the fields below
	begun      map[*scrape.Target]time.Time
	owners     []owner
	seen       map[uint64]int32           // series to who made it first
	shared     map[uint64]map[string]bool // those made more than once, to their jobs
	collisions map[collisionKey]*status.ReportCollision
	spoofed    map[spoofKey]*status.ReportSpoofed
}

// owner is a target that made series.
type owner struct {
	job, url string
}

type collisionKey struct {
	jobA, jobB string
	same       bool
}

type spoofKey struct {
	job, label string
}

var _ storage.AppendableV2 = (*rehearsalStage)(nil)

func newRehearsalStage(ctx context.Context, cfg *config.Config, r Rehearsal) *rehearsalStage {
	st := &rehearsalStage{
		ctx:        ctx,
		slots:      make(chan struct{}, max(1, r.AtOnce)),
		taste:      r.Taste,
		guard:      newGuard(heard{}, nil, prometheus.NewRegistry()),
		jobs:       map[string]*rehearsedJob{},
		begun:      map[*scrape.Target]time.Time{},
		seen:       map[uint64]int32{},
		shared:     map[uint64]map[string]bool{},
		collisions: map[collisionKey]*status.ReportCollision{},
		spoofed:    map[spoofKey]*status.ReportSpoofed{},
	}
	st.guard.apply(cfg)
	return st
}

func (st *rehearsalStage) add(job *promconfig.ScrapeConfig) *rehearsedJob {
	j := newRehearsedJob(job)
	st.jobs[job.JobName] = j
	st.order = append(st.order, job.JobName)
	return j
}

// AppenderV2 implements storage.AppendableV2. The library asks for one before
// it scrapes: here it waits for its turn.
func (st *rehearsalStage) AppenderV2(ctx context.Context) storage.AppenderV2 {
	target, _ := scrape.TargetFromContext(ctx)
	a := &rehearsedAppender{stage: st, target: target, builder: labels.NewBuilder(labels.EmptyLabels())}
	select {
	case st.slots <- struct{}{}:
		a.slot = true
	case <-st.ctx.Done():
		a.late = true
	}
	guarded, _ := st.guard.AppenderV2(ctx).(*guardedAppender)
	a.guarded = guarded
	a.series, _ = guarded.AppenderV2.(*heardSeries)
	a.job = st.jobs[guarded.job]
	a.pass = a.job.metricRules.Pass()
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, again := st.begun[target]; !again {
		st.begun[target] = time.Now()
	}
	return a
}

// took notes the series of one target, which nobody took of it before, and gives
// how many its job had not made yet.
func (st *rehearsalStage) took(job string, target *scrape.Target, series []labels.Labels) (fresh int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	me := int32(len(st.owners)) //nolint:gosec // Nobody has so many targets.
	st.owners = append(st.owners, owner{job, targetName(target)})
	for _, ls := range series {
		hash := ls.Hash()
		first, known := st.seen[hash]
		if !known {
			st.seen[hash] = me
			fresh++
			if st.taste != nil {
				st.taste(ls)
			}
			continue
		}
		by := st.shared[hash]
		if by == nil {
			by = map[string]bool{st.owners[first].job: true}
			st.shared[hash] = by
		}
		if !by[job] {
			by[job] = true
			fresh++
		}
		st.collide(first, me, ls)
	}
	return fresh
}

// collide notes that two make the same series, while the caller holds mu.
func (st *rehearsalStage) collide(first, second int32, ls labels.Labels) {
	a, b := st.owners[first], st.owners[second]
	key := collisionKey{min(a.job, b.job), max(a.job, b.job), first == second}
	c := st.collisions[key]
	if c == nil {
		c = &status.ReportCollision{
			Jobs: []string{key.jobA}, SameScrape: key.same, Examples: []string{},
			Between: []string{min(a.url, b.url), max(a.url, b.url)},
		}
		if key.jobA != key.jobB {
			c.Jobs = append(c.Jobs, key.jobB)
		}
		st.collisions[key] = c
	}
	c.Series++
	if len(c.Examples) < 3 {
		c.Examples = append(c.Examples, rulebook.Clip(ls.String(), maxText))
	}
}

// spoof notes that samples came with a mandatory label of their own.
func (st *rehearsalStage) spoof(job string, target *scrape.Target, found map[string]*spoof) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for label, f := range found {
		s := st.spoofed[spoofKey{job, label}]
		if s == nil {
			s = &status.ReportSpoofed{Job: job, Label: label, Values: []string{}}
			st.spoofed[spoofKey{job, label}] = s
		}
		s.Samples += f.samples
		s.Targets++
		s.Relabelled = s.Relabelled || target.GetValue(label) != ""
		s.Values = addExample(s.Values, f.value)
	}
}
