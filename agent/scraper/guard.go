// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

var errNoTargets = errors.New("the first targets are not discovered yet")

// Why a scrape is not written.
const (
	discardedLease    = "lease"
	discardedStopping = "stopping"
)

// jobMark is the target label that carries the name of the job in the config.
// The label job cannot serve: discovery and relabelling may set it to anything.
const jobMark = "__torchbearer_job"

// markJob is the last relabelling rule of a job, so that nothing a target is
// discovered with can take its place.
func markJob(name string) *relabel.Config {
	return &relabel.Config{
		Action:               relabel.Replace,
		Separator:            relabel.DefaultRelabelConfig.Separator,
		Regex:                relabel.MustNewRegexp(".*"),
		TargetLabel:          jobMark,
		Replacement:          strings.ReplaceAll(name, "$", "$$"),
		NameValidationScheme: model.UTF8Validation,
	}
}

// guard stands before the log: it moves mandatory labels that a series brings
// along out of the way, so that the agent's own are added to it when it leaves.
// It keeps a target from saying itself whether it is up. And it lets nothing
// into the log of a job that another agent has taken over. It tells the log
// whose the samples are, and the library in words of its own what the log
// refuses.
type guard struct {
	next      storage.AppendableV2
	admit     func(job string) (done func(), ok bool)
	conflicts *prometheus.CounterVec
	discarded *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	posing    *prometheus.CounterVec
	rules     atomic.Pointer[guardRules]
	closed    atomic.Bool
	refused   atomic.Int64 // when the log refused a series last; Unix nanoseconds
	turns     *turns
	last      lastScrapes
}

// guardRules are those of one config; never modified.
type guardRules struct {
	number    uint64 // counts configs, from 1
	jobs      []string
	trusted   []string // jobs that may set the mandatory labels
	mandatory []string // label names
	tallies   map[string]*tally
}

var _ storage.AppendableV2 = (*guard)(nil)

func newGuard(next storage.AppendableV2, admit func(job string) (done func(), ok bool), reg prometheus.Registerer) *guard {
	if admit == nil {
		admit = func(string) (func(), bool) { return func() {}, true }
	}
	g := &guard{
		next:  next,
		admit: admit,
		turns: newTurns(nil),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_label_conflicts_total",
			Help: "Samples of series that came with a mandatory label of their own, which was kept as exported_<label>, by job and label.",
		}, []string{"job", "label"}),
		discarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_scrapes_discarded_total",
			Help: "Scrapes that were not written, by reason: lease, another agent may have taken the job over meanwhile; stopping, the target answered too late for the agent's stop.",
		}, []string{"reason"}),
		dropped: newDropped(),
		posing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "torchbearer_report_conflicts_total",
			Help: "Samples that a target exposed as one of those that the agent adds to each scrape, such as up; the agent's own was kept. By job.",
		}, []string{"job"}),
	}
	g.rules.Store(&guardRules{})
	reg.MustRegister(g.conflicts, g.discarded, g.dropped, g.posing)
	for _, reason := range []string{discardedLease, discardedStopping} {
		g.discarded.WithLabelValues(reason)
	}
	return g
}

func (g *guard) apply(cfg *config.Config) {
	rules := &guardRules{number: g.rules.Load().number + 1, trusted: slices.Clone(cfg.Agent.TrustedLabelJobs)}
	for _, l := range cfg.MandatoryLabels() {
		rules.mandatory = append(rules.mandatory, l.Name)
	}
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		rules.jobs = append(rules.jobs, job.JobName)
	}
	rules.tallies = g.tally(cfg, g.rules.Load().tallies)
	for _, former := range g.rules.Swap(rules).jobs {
		if !slices.Contains(rules.jobs, former) {
			g.conflicts.DeletePartialMatch(prometheus.Labels{"job": former})
			g.posing.DeleteLabelValues(former)
			g.dropped.DeleteLabelValues(former)
		}
	}
}

// shut lets nothing through any more.
func (g *guard) shut() { g.closed.Store(true) }

// AppenderV2 implements storage.AppendableV2.
func (g *guard) AppenderV2(ctx context.Context) storage.AppenderV2 {
	a := &guardedAppender{guard: g}
	if target, ok := scrape.TargetFromContext(ctx); ok {
		a.job, a.target = target.GetValue(jobMark), target
	}
	a.turn = g.turns.take(a.target)
	a.AppenderV2 = g.next.AppenderV2(logged.WithJob(ctx, a.job))
	rules := g.rules.Load()
	a.mandatory, a.trusted, a.tally = rules.mandatory, slices.Contains(rules.trusted, a.job), rules.tallies[a.job]
	if a.target != nil && rules.number < 1<<(64-scrape.RefBits) {
		a.stamp = storage.SeriesRef(rules.number << scrape.RefBits)
	}
	return a
}

// labelKeeper keeps the labels of series by their refs.
type labelKeeper interface {
	LabelsOf(ref storage.SeriesRef) packed.Labels
}

// knownLabels is about what the labels of a series take in an answer, where
// nobody looks at them.
const knownLabels = 150

// guardedAppender is for one scrape of one target.
type guardedAppender struct {
	storage.AppenderV2

	guard     *guard
	target    *scrape.Target // nil is not known
	job       string
	trusted   bool // the job may set mandatory labels
	mandatory []string
	// stamp stands in the refs that are given back for labels that no rule concerns.
	// The library keeps a ref with the labels that it was given for, so those need
	// not be looked at again. 0 is none.
	stamp     storage.SeriesRef
	conflicts []int // how many of each, since the last Commit or Rollback
	posing    int   // the same
	tally     *tally
	brought   brought
	labels    int64 // bytes
	turn      int64 // to give back
	builder   labels.ScratchBuilder
}

// LabelsOf are the labels of a ref that Append answered with. Of a series whose labels are looked at in each scrape it has
// none, so that they need not be asked for each time.
func (a *guardedAppender) LabelsOf(ref storage.SeriesRef) packed.Labels {
	keeper, ok := a.AppenderV2.(labelKeeper)
	if !ok || ref&^scrape.RefMask == 0 {
		return packed.Labels{}
	}
	return keeper.LabelsOf(ref & scrape.RefMask)
}

// Append implements storage.AppenderV2.
func (a *guardedAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	a.labels += int64(ls.ByteSize())
	stamp := ref &^ scrape.RefMask
	ref &= scrape.RefMask
	clean := stamp == a.stamp && stamp != 0
	if ls.IsEmpty() {
		if !clean {
			return 0, packed.ErrNeeded
		}
		a.labels += knownLabels
	}
	if strings.HasSuffix(opts.MetricFamilyName, ofReport) {
		a.brought.take(opts.MetricFamilyName, v)
	} else if !clean && posesAsReport(a.target, ls) {
		a.posing++
		return 0, nil
	}
	// The labels are looked at even when ref is known: the log takes them when
	// it has forgotten the ref meanwhile. And a ref without a stamp, or of labels
	// that a rule concerns, is not given on, so that the labels decide: it may be
	// of a time when other rules made another series of them.
	if stamp == 0 {
		ref = 0
	}
	stamp = a.stamp
	if !clean && slices.ContainsFunc(a.mandatory, ls.Has) {
		ref, stamp = 0, 0
		if !a.trusted {
			ls = a.rename(ls)
		}
	}
	got, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
	if err != nil {
		err = a.guard.inWordsOfTheLibrary(err)
	}
	if got != 0 && got <= scrape.RefMask {
		got |= stamp
	}
	return got, err
}

// rename moves every mandatory label of ls to a free name.
func (a *guardedAppender) rename(ls labels.Labels) labels.Labels {
	if a.conflicts == nil {
		a.conflicts = make([]int, len(a.mandatory))
	}
	a.builder.Reset()
	var taken []string
	ls.Range(func(l labels.Label) {
		name := l.Name
		if i := slices.Index(a.mandatory, name); i >= 0 {
			a.conflicts[i]++
			name = model.ExportedLabelPrefix + name
			for ls.Has(name) || slices.Contains(a.mandatory, name) || slices.Contains(taken, name) {
				name = model.ExportedLabelPrefix + name
			}
			taken = append(taken, name)
		}
		a.builder.Add(name, l.Value)
	})
	a.builder.Sort()
	return a.builder.Labels()
}

// Commit implements storage.AppenderTransaction.
func (a *guardedAppender) Commit() error {
	defer a.end()
	if a.guard.closed.Load() {
		a.guard.discarded.WithLabelValues(discardedStopping).Inc()
		return a.Rollback()
	}
	done, ok := a.guard.admit(a.job)
	if !ok {
		a.guard.discarded.WithLabelValues(discardedLease).Inc()
		return a.Rollback()
	}
	defer done()
	a.count()
	if err := a.AppenderV2.Commit(); err != nil {
		return err
	}
	a.tally.add(a.brought)
	a.guard.last.note(a.target, a.brought)
	return nil
}

// Rollback implements storage.AppenderTransaction.
func (a *guardedAppender) Rollback() error {
	defer a.end()
	a.count()
	return a.AppenderV2.Rollback()
}

// end gives the turn back, once.
func (a *guardedAppender) end() {
	a.guard.turns.give(a.target, a.turn, a.labels+int64(a.brought.scraped)*sampleBytes)
	a.target, a.turn = nil, 0
}

func (a *guardedAppender) count() {
	for i, n := range a.conflicts {
		if n > 0 {
			a.guard.conflicts.WithLabelValues(a.job, a.mandatory[i]).Add(float64(n))
		}
	}
	if a.posing > 0 {
		a.guard.posing.WithLabelValues(a.job).Add(float64(a.posing))
	}
	a.conflicts, a.posing = nil, 0
}
