// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"strings"

	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"

	"torchbearer/config"
)

// Status is whose targets this agent scrapes, and who scrapes the others.
type Status struct {
	Node  string      `json:"node"` // "" when node jobs are scraped whole
	Scope Part        `json:"scope"`
	Lease *LeaseState `json:"lease"` // nil when there is none
	Jobs  []Job       `json:"jobs"`  // in the order of the config
}

// LeaseState is the Lease as this agent sees it.
type LeaseState struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Identity  string `json:"identity"` // of this agent
	Holder    string `json:"holder"`   // "" is nobody
	Held      bool   `json:"held"`     // by this agent, which is sure of it
	Error     string `json:"error,omitempty"`
}

// Job is whose a job's targets are.
type Job struct {
	Name    string       `json:"job"`
	Scope   config.Scope `json:"scope"`
	Scraped bool         `json:"scraped"`      // here, all of it or this node's part
	By      string       `json:"by,omitempty"` // the agent that scrapes it, if not this one and if known
	Reason  string       `json:"reason"`
}

// Status tells whose targets are scraped here.
func (t *Targets) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	status := Status{Node: t.place.node, Scope: t.opts.Part, Jobs: []Job{}}
	if t.lease != nil {
		holding, _ := t.lease.lock.state()
		status.Lease = &LeaseState{
			Name: t.lease.lock.meta.Name, Namespace: t.lease.lock.meta.Namespace,
			Identity: t.lease.lock.identity, Holder: holding, Held: t.fence.left() > 0,
		}
		if err := t.lease.trouble(); err != nil {
			status.Lease.Error = err.Error()
		}
	}
	if t.config == nil {
		return status
	}
	for _, job := range t.config.Prometheus.ScrapeConfigs {
		status.Jobs = append(status.Jobs, t.job(job, status.Lease))
	}
	return status
}

// job tells whose the job's targets are, while the caller holds mu.
func (t *Targets) job(job *promconfig.ScrapeConfig, state *LeaseState) Job {
	scope := t.config.Scope(job)
	told := Job{Name: job.JobName, Scope: scope, Scraped: t.scraped(scope)}
	if scope == config.ScopeCluster && state != nil {
		told.Scraped = told.Scraped && state.Held
	}
	switch {
	case scope == config.ScopeEvery:
		told.Reason = "every agent scrapes it"
	case scope == config.ScopeNode && t.opts.Part == PartCluster:
		told.Reason = "the agents of the nodes scrape it: this one has --scrape.scope=cluster"
	case scope == config.ScopeNode && t.place.node == "":
		told.Reason = "scraped whole: " + t.place.why
	case scope == config.ScopeNode:
		told.Reason = "each agent scrapes what is on its node"
	case t.opts.Part == PartNode:
		told.Reason = "left to the agents with --scrape.scope=cluster: this one has --scrape.scope=node"
	case !t.place.lease:
		told.Reason = "scraped whole: " + t.place.why
	case told.Scraped:
		told.Reason = "this agent holds the lease"
	case state.Holder == state.Identity:
		told.Reason = "the lease comes to this agent, or goes from it"
	case state.Error != "" && state.Holder == "":
		told.Reason = "nobody is known to hold the lease: " + state.Error
	case state.Holder == "":
		told.Reason = "nobody holds the lease at present"
	default:
		told.By, told.Reason = state.Holder, "another agent holds the lease"
	}
	return told
}

// scraped says whether jobs of the scope are scraped here now, while the caller
// holds mu.
func (t *Targets) scraped(scope config.Scope) bool {
	switch scope {
	case config.ScopeNode:
		return t.opts.Part != PartCluster
	case config.ScopeCluster:
		return t.opts.Part != PartNode && (!t.place.lease || t.holding)
	default: // ScopeEvery
		return true
	}
}

// discoveries is what a job discovers here, while the caller holds mu.
func (t *Targets) discoveries(job *promconfig.ScrapeConfig) discovery.Configs {
	scope := t.config.Scope(job)
	switch {
	case !t.scraped(scope):
		return discovery.Configs{}
	case scope == config.ScopeNode && t.place.node != "":
		return narrowed(job.ServiceDiscoveryConfigs, t.place.node)
	}
	return job.ServiceDiscoveryConfigs
}

// apply gives discovery the jobs that are this agent's now, while the caller
// holds applying.
func (t *Targets) apply() error {
	t.mu.Lock()
	jobs := make(map[string]discovery.Configs, len(t.config.Prometheus.ScrapeConfigs))
	leased := make(map[string]bool)
	var elsewhere []string
	for _, job := range t.config.Prometheus.ScrapeConfigs {
		jobs[job.JobName] = t.watched(t.discoveries(job))
		scope := t.config.Scope(job)
		if scope == config.ScopeCluster && t.place.lease {
			leased[job.JobName] = true
		}
		if !t.scraped(scope) {
			elsewhere = append(elsewhere, job.JobName)
		}
	}
	t.tell()
	t.mu.Unlock()
	t.leased.Store(&leased)
	if len(elsewhere) > 0 {
		level.Info(t.logger).Log("msg", "jobs are left to other agents", "jobs", strings.Join(elsewhere, ", "), "see", "/api/v1/status/scopes")
	}
	return t.manager.ApplyConfig(jobs)
}

// tell shows as metrics what is scraped here, while the caller holds mu.
func (t *Targets) tell() {
	t.scrapedJobs.Reset()
	for _, job := range t.config.Prometheus.ScrapeConfigs {
		scope, value := t.config.Scope(job), 0.0
		if t.scraped(scope) {
			value = 1
		}
		t.scrapedJobs.WithLabelValues(job.JobName, string(scope)).Set(value)
	}
}
