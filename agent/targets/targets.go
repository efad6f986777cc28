// SPDX-License-Identifier: Apache-2.0

// Package targets owns the question what is scraped by this agent: it runs the
// discovery of each job, by Prometheus's discovery.Manager, and decides which of
// a cluster's agents a target belongs to. Jobs of scope node discover what is on
// the agent's node only; jobs of scope cluster are discovered by the agent that
// holds a Lease; jobs of scope every by all.
//
// It promises that discovery which a reload did not change goes on
// undisturbed, and that while one agent may write samples of a cluster-scoped
// job no other may (Admit). It never scrapes, and never changes the config it is
// given: what it adds to a job's discovery it adds to a copy.
package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"torchbearer/agent/upstream/discovery"
	"torchbearer/config"
)

// updatePause is the longest between two updates where discovery is busy. Each
// is all groups, and a job that was taken over waits for it.
const updatePause = 2 * time.Second

// Options say what discovery works with. Library and Registry must be set; the
// rest is for agents that share a cluster.
type Options struct {
	Logger   log.Logger
	Library  *slog.Logger // for discovery
	Registry prometheus.Registerer

	Part           Part // "" is PartAll
	Place          Place
	LeaseName      string
	LeaseNamespace string        // "" is that of the agent's pod
	LeaseDuration  time.Duration // whole seconds, from ShortestLease to LongestLease
}

// Targets discovers the targets of all jobs that are this agent's.
type Targets struct {
	opts        Options
	logger      log.Logger
	manager     *discovery.Manager
	stop        context.CancelFunc
	place       place  // set by Locate
	lease       *lease // set by Locate; nil when there is none
	fence       fence
	leased      atomic.Pointer[map[string]bool] // jobs that need the lease
	scrapedJobs *prometheus.GaugeVec
	clusterUID  atomic.Pointer[string]

	applying sync.Mutex // one at a time

	mu      sync.Mutex // guards the fields below
	silent  map[string]int
	config  *config.Config
	holding bool // the lease
}

// New returns a discovery without jobs. Locate and Run must be called.
func New(opts Options) (*Targets, error) {
	mechanisms, err := discovery.CreateAndRegisterSDMetrics(opts.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics of service discovery: %w", err)
	}
	if opts.Part == "" {
		opts.Part = PartAll
	}
	t := &Targets{
		opts:   opts,
		logger: opts.Logger,
		silent: make(map[string]int),
		scrapedJobs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "torchbearer_job_scraped",
			Help: "Whether the job, or this node's part of it, is scraped by this agent; 0 is that others do.",
		}, []string{"job", "scope"}),
	}
	if t.logger == nil {
		t.logger = log.NewNopLogger()
	}
	opts.Registry.MustRegister(t.scrapedJobs, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "torchbearer_lease_held",
		Help: "Whether this agent holds the lease, and so scrapes the cluster-scoped jobs.",
	}, func() float64 {
		if t.fence.left() > 0 {
			return 1
		}
		return 0
	}))
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.manager = discovery.NewManager(ctx, opts.Library, opts.Registry, mechanisms, discovery.Name("scrape"), discovery.Updatert(updatePause))
	if t.manager == nil {
		stop()
		return nil, errors.New("make discovery manager; the log says why")
	}
	return t, nil
}

// stand makes this agent one of those that may hold the lease.
func (t *Targets) stand() {
	at := t.opts.Place
	// The same pod is the same holder: a container that was started anew goes on
	// at once, its former process being dead for certain.
	identity := at.Pod + "_" + at.PodUID
	if at.Pod == "" || at.PodUID == "" {
		identity = cmp.Or(at.Pod, t.place.node, "torchbearer") + "_" + string(uuid.NewUUID())
	}
	ns := cmp.Or(t.opts.LeaseNamespace, namespace(at))
	t.lease = &lease{
		lock: &lock{
			client:   t.place.client.CoordinationV1().Leases(ns),
			meta:     metav1.ObjectMeta{Name: t.opts.LeaseName, Namespace: ns},
			identity: identity,
			duration: t.opts.LeaseDuration,
			fence:    &t.fence,
			usurped:  make(chan struct{}, 1),
		},
		fence:  &t.fence,
		logger: t.logger,
		gained: func() { t.hold(true, false) },
		lost:   func(stopping bool) { t.hold(false, stopping) },
	}
	t.lease.lock.report = t.lease.report
}

// hold begins or ends the work of the one that holds the lease. An agent that is
// stopping ends its discovery by itself.
func (t *Targets) hold(holding, stopping bool) {
	t.applying.Lock()
	defer t.applying.Unlock()
	t.mu.Lock()
	t.holding = holding
	known := t.config != nil
	if known {
		t.tell()
	}
	t.mu.Unlock()
	if known && !stopping {
		_ = t.apply() // It cannot fail where it did not before.
	}
}

// Apply discovers by cfg from now on. It waits until the discovery of jobs that
// are gone has ended.
func (t *Targets) Apply(cfg *config.Config) error {
	t.applying.Lock()
	defer t.applying.Unlock()
	t.mu.Lock()
	t.config = cfg
	t.mu.Unlock()
	if err := t.apply(); err != nil {
		return fmt.Errorf("apply service discovery: %w", err)
	}
	return nil
}

// Admit says whether what was scraped of the job may be written, and if so that
// this agent's part in the job does not end before done is called.
func (t *Targets) Admit(job string) (done func(), ok bool) {
	leased := t.leased.Load()
	if leased == nil || !(*leased)[job] {
		return func() {}, true
	}
	return t.fence.pass()
}

// Updates is where the groups of all jobs come, all of them each time
// something changed. It is closed when Run has returned.
func (t *Targets) Updates() <-chan map[string][]*targetgroup.Group { return t.manager.SyncCh() }

// Run discovers until ctx is done. If it holds the lease it then gives it away,
// having made sure that nothing of its jobs is written any more. Call it once.
func (t *Targets) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, t.stop)()
	var standing sync.WaitGroup
	defer standing.Wait()
	if t.lease != nil {
		standing.Go(func() { t.lease.run(ctx) })
	}
	if client := t.place.client; client != nil {
		standing.Go(func() { t.askUID(ctx, client) })
	}
	if err := t.manager.Run(); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("run service discovery: %w", err)
	}
	return nil
}
