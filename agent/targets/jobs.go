// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"strings"

	"github.com/go-kit/log/level"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// Status tells whose targets are scraped here.
func (t *Targets) Status() status.Scopes {
	t.mu.Lock()
	defer t.mu.Unlock()
	told := status.Scopes{Node: t.place.node, Scope: string(t.opts.Part), Jobs: []status.Job{}}
	if t.lease != nil {
		holding, _ := t.lease.lock.state()
		told.Lease = &status.Lease{
			Name: t.lease.lock.meta.Name, Namespace: t.lease.lock.meta.Namespace,
			Identity: t.lease.lock.identity, Holder: holding, Held: t.fence.left() > 0,
		}
		if err := t.lease.trouble(); err != nil {
			told.Lease.Error = err.Error()
		}
	}
	if t.config == nil {
		return told
	}
	for _, job := range t.config.Prometheus.ScrapeConfigs {
		told.Jobs = append(told.Jobs, t.job(job, told.Lease))
	}
	return told
}

// job tells whose the job's targets are, while the caller holds mu.
func (t *Targets) job(job *promconfig.ScrapeConfig, state *status.Lease) status.Job {
	scope := t.config.Scope(job)
	told := status.Job{Name: job.JobName, Scope: string(scope), Scraped: t.scraped(scope)}
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
