// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/discovery"
	"torchbearer/config"
)

const (
	// rehearsalUpdates is how often what was discovered is taken over.
	rehearsalUpdates = 50 * time.Millisecond
	// rehearsalQuiet is how long nothing new must have come from a discovery that
	// sends its groups one by one, as Kubernetes does, to be taken for complete.
	rehearsalQuiet = 500 * time.Millisecond
)

// Discovered is what was found for a config that need not run.
type Discovered struct {
	Scopes status.Scopes
	Groups map[string][]*targetgroup.Group // of the jobs that are this agent's
	Silent map[string][]string             // kinds of discovery, by job, that sent nothing in time
}

// Rehearse discovers by cfg once, beside what runs, until all discoveries have
// sent their targets or ctx is done, for at most patience. It discovers what this
// agent would at present, and with all also what another agent holds the lease for.
func (t *Targets) Rehearse(ctx context.Context, cfg *config.Config, patience time.Duration, all bool) (Discovered, error) {
	shadow := t.shadow(cfg)
	found := Discovered{Scopes: shadow.Status(), Groups: map[string][]*targetgroup.Group{}}
	shadow.holding = shadow.holding || all
	r := &rehearsal{changed: make(chan struct{}, 1)}
	jobs := map[string]discovery.Configs{}
	for i, job := range cfg.Prometheus.ScrapeConfigs {
		if shadow.scraped(cfg.Scope(job)) {
			shadow.lookAt(&found.Scopes.Jobs[i], found.Scopes.Lease)
			jobs[job.JobName] = r.watched(job.JobName, shadow.discoveries(job))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	groups, err := r.discover(ctx, jobs)
	if err != nil {
		return Discovered{}, err
	}
	found.Silent = r.told()
	for job := range jobs {
		found.Groups[job] = groups[job] // Also one that found nothing.
	}
	return found, nil
}

// shadow is t as it is now, by another config. It is only asked, never run.
func (t *Targets) shadow(cfg *config.Config) *Targets {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Targets{opts: t.opts, place: t.place, lease: t.lease, config: cfg, holding: t.holding}
	if left := t.fence.left(); left > 0 {
		s.fence.extend(time.Now().Add(left))
		s.fence.raise()
	}
	return s
}

// lookAt tells of a job that is looked at, whoever scrapes it.
func (t *Targets) lookAt(job *status.Job, state *status.Lease) {
	if job.Scraped || job.Scope != string(config.ScopeCluster) || state == nil {
		return
	}
	switch state.Holder {
	case "":
		job.Reason = "nobody holds the lease at present: this agent would take it"
	case state.Identity:
		job.Reason = "this agent holds the lease"
	default:
		job.Reason += "; it is looked at all the same"
	}
	job.Scraped = true
}

// rehearsal is one discovery that is over soon.
type rehearsal struct {
	changed chan struct{} // holds one: something was sent

	mu   sync.Mutex // guards the fields below
	runs []*sought
}

// sought is a discovery, of all jobs that have the same.
type sought struct {
	config  discovery.Config
	jobs    []string
	heard   bool
	failed  error  // it could not be made
	trouble string // what it complained of last
}

// watched are copies of configs that tell of what they send.
func (r *rehearsal) watched(job string, configs discovery.Configs) discovery.Configs {
	copies := make(discovery.Configs, 0, len(configs))
	for _, c := range configs {
		at := slices.IndexFunc(r.runs, func(known *sought) bool { return reflect.DeepEqual(known.config, c) })
		if at < 0 {
			at = len(r.runs)
			r.runs = append(r.runs, &sought{config: c})
		}
		r.runs[at].jobs = append(r.runs[at].jobs, job)
		// The manager takes copies with the same sought for equal, and runs one.
		copies = append(copies, rehearsedConfig{Config: c, rehearsal: r, sought: r.runs[at]})
	}
	return copies
}

// quiet is how long nothing must have come for all to have come.
func (r *rehearsal) quiet() time.Duration {
	// An update that was sent before the last groups came does not have them.
	quiet := 4 * rehearsalUpdates
	if slices.ContainsFunc(r.runs, func(known *sought) bool { return known.config.Name() == "kubernetes" }) {
		quiet += rehearsalQuiet
	}
	return quiet
}

// heard notes that a discovery has sent something.
func (r *rehearsal) heard(of *sought) {
	r.mu.Lock()
	of.heard = true
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *rehearsal) allHeard() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.runs, func(known *sought) bool { return !known.heard })
}

// told are the kinds that were not heard, by job.
func (r *rehearsal) told() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := map[string][]string{}
	for _, known := range r.runs {
		for _, job := range known.jobs {
			text := known.config.Name()
			if known.failed != nil {
				text += ": " + known.failed.Error()
			} else if known.trouble != "" {
				text += ": " + known.trouble
			}
			if (!known.heard || known.failed != nil) && !slices.Contains(silent[job], text) {
				silent[job] = append(silent[job], text)
			}
		}
	}
	return silent
}

// discover runs the discoveries until all were heard and then were quiet for a
// while, or until ctx is done.
func (r *rehearsal) discover(ctx context.Context, jobs map[string]discovery.Configs) (map[string][]*targetgroup.Group, error) {
	registry := prometheus.NewRegistry() // Nobody gathers it.
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics of service discovery: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	manager := discovery.NewManager(running, slog.New(slog.DiscardHandler), registry, mechanisms, discovery.Updatert(rehearsalUpdates))
	if manager == nil {
		stop()
		return nil, errors.New("make discovery manager for a rehearsal")
	}
	ended := make(chan error, 1)
	go func() { ended <- manager.Run() }()
	defer func() {
		stop()
		for range manager.SyncCh() { // It is closed.
		}
		<-ended //nolint:errcheck // It is that of its context.
	}()
	if err := manager.ApplyConfig(jobs); err != nil {
		return nil, fmt.Errorf("apply service discovery to a rehearsal: %w", err)
	}
	return r.collect(ctx, manager.SyncCh(), r.quiet()), nil
}

// collect takes updates until nothing more is to be expected.
func (r *rehearsal) collect(ctx context.Context, updates <-chan map[string][]*targetgroup.Group, quiet time.Duration) map[string][]*targetgroup.Group {
	var latest map[string][]*targetgroup.Group
	settled := time.NewTimer(quiet)
	defer settled.Stop()
	for {
		select {
		case groups := <-updates:
			latest = groups
		case <-r.changed:
			settled.Reset(quiet)
		case <-settled.C:
			if r.allHeard() {
				return latest
			}
			settled.Reset(quiet)
		case <-ctx.Done():
			return latest
		}
	}
}

// rehearsedConfig is a discovery that tells of what it sends.
type rehearsedConfig struct {
	discovery.Config

	rehearsal *rehearsal
	sought    *sought
}

// NewDiscoverer implements discovery.Config.
func (c rehearsedConfig) NewDiscoverer(opts discovery.DiscovererOptions) (discovery.Discoverer, error) {
	opts.Logger = slog.New(listener{c})
	d, err := c.Config.NewDiscoverer(opts)
	if err != nil {
		c.sought.failed = err
		c.rehearsal.heard(c.sought)
		return nil, err
	}
	return &rehearsedDiscoverer{Discoverer: d, config: c}, nil
}

// rehearsedDiscoverer is one at work.
type rehearsedDiscoverer struct {
	discovery.Discoverer

	config rehearsedConfig
}

// Run implements discovery.Discoverer.
func (d *rehearsedDiscoverer) Run(ctx context.Context, out chan<- []*targetgroup.Group) {
	in := make(chan []*targetgroup.Group)
	go relay(ctx, in, out, func() { d.config.rehearsal.heard(d.config.sought) })
	d.Discoverer.Run(ctx, in)
}

// relay hands on what comes until ctx is done, and tells of it.
func relay(ctx context.Context, in <-chan []*targetgroup.Group, out chan<- []*targetgroup.Group, sent func()) {
	for {
		select {
		case groups, ok := <-in:
			if !ok {
				return // Some discoverers close their channel.
			}
			select {
			case out <- groups:
				sent()
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
