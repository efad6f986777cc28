// SPDX-License-Identifier: Apache-2.0

// Package targets owns the discovery of targets, by Prometheus's
// discovery.Manager.
//
// It promises that discovery which a reload did not change goes on
// undisturbed. It never scrapes, and never changes the config it is given: what
// it adds to a job's discovery it adds to a copy.
package targets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"torchbearer/config"
)

// Options say what discovery works with. All fields must be set.
type Options struct {
	Library  *slog.Logger // for discovery
	Registry prometheus.Registerer
}

// Targets discovers the targets of all jobs.
type Targets struct {
	manager *discovery.Manager
	stop    context.CancelFunc

	mu     sync.Mutex // guards silent
	silent map[string]int
}

// New returns a discovery without jobs. Run must be called.
func New(opts Options) (*Targets, error) {
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(opts.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics of service discovery: %w", err)
	}
	t := &Targets{silent: make(map[string]int)}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.manager = discovery.NewManager(ctx, opts.Library, opts.Registry, mechanisms, discovery.Name("scrape"))
	if t.manager == nil {
		stop()
		return nil, errors.New("make discovery manager; the log says why")
	}
	return t, nil
}

// Apply discovers by cfg from now on. It waits until the discovery of jobs that
// are gone has ended.
func (t *Targets) Apply(cfg *config.Config) error {
	jobs := make(map[string]discovery.Configs, len(cfg.Prometheus.ScrapeConfigs))
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		jobs[job.JobName] = t.watched(job.ServiceDiscoveryConfigs)
	}
	if err := t.manager.ApplyConfig(jobs); err != nil {
		return fmt.Errorf("apply service discovery: %w", err)
	}
	return nil
}

// Updates is where the groups of all jobs come, all of them each time
// something changed. It is closed when Run has returned.
func (t *Targets) Updates() <-chan map[string][]*targetgroup.Group { return t.manager.SyncCh() }

// Run discovers until ctx is done. Call it once.
func (t *Targets) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, t.stop)()
	if err := t.manager.Run(); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("run service discovery: %w", err)
	}
	return nil
}
