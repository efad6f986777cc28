// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

// Scope says which of a cluster's agents scrape a job's targets.
type Scope string

// The scopes there are.
const (
	ScopeNode    Scope = "node"    // the agent on the target's own node
	ScopeCluster Scope = "cluster" // one agent of the cluster
	ScopeEvery   Scope = "every"   // every agent
)

// Scope is the job's own of agent.scopes, else ScopeNode where all that it discovers are pods and nodes of Kubernetes,
// else ScopeCluster.
func (c *Config) Scope(job *promconfig.ScrapeConfig) Scope {
	if scope, ok := c.Agent.Scopes[job.JobName]; ok {
		return scope
	}
	if len(job.ServiceDiscoveryConfigs) > 0 && wide(job) == "" {
		return ScopeNode
	}
	return ScopeCluster
}

// wide names a discovery of the job that cannot be narrowed to one node, or is empty.
func wide(job *promconfig.ScrapeConfig) string {
	for _, sd := range job.ServiceDiscoveryConfigs {
		k8s, ok := sd.(*kubernetes.SDConfig)
		switch {
		case !ok:
			return sd.Name() + " discovery"
		case k8s.Role != kubernetes.RolePod && k8s.Role != kubernetes.RoleNode:
			return fmt.Sprintf("Kubernetes discovery with role %s", k8s.Role)
		}
	}
	return ""
}

// scopes refuses a scope that its job cannot have, and hints at what costs every agent a watch on the whole cluster.
func (c *checker) scopes(cfg *Config) {
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		if cfg.Scope(job) != ScopeNode {
			continue
		}
		if what := wide(job); what != "" {
			c.refuse(c.scopeNames[job.JobName], fmt.Sprintf("agent.scopes: job %q cannot have scope node, for its %s is not of one node", job.JobName, what),
				"write cluster, for one agent to scrape it, or every, for all")
		}
		if _, explicit := cfg.Agent.Scopes[job.JobName]; !explicit && elsewhere(job) {
			at := cmp.Or(c.jobsByName()[job.JobName], c.main.root)
			c.hint(at, at.line, fmt.Sprintf("job %q discovers by an api_server or kubeconfig_file of its own; the agent of a node looks for its own node there", job.JobName),
				"if that is another cluster, write `"+job.JobName+": cluster` in agent.scopes; if not, `"+job.JobName+": node`")
		}
		if costs := clusterWideMetadata(job); len(costs) > 0 {
			at := cmp.Or(c.jobsByName()[job.JobName], c.main.root)
			c.hint(at, at.line, fmt.Sprintf("job %q: attach_metadata %s makes the agent of every node watch all such objects of the cluster", job.JobName, strings.Join(costs, ", ")),
				"leave it out in large clusters, or write `"+job.JobName+": cluster` in agent.scopes")
		}
	}
}

// elsewhere says whether the job may discover another cluster than the agent's own.
func elsewhere(job *promconfig.ScrapeConfig) bool {
	return slices.ContainsFunc(job.ServiceDiscoveryConfigs, func(sd discovery.Config) bool {
		k8s, ok := sd.(*kubernetes.SDConfig)
		if !ok {
			return false
		}
		server := k8s.APIServer.URL
		return k8s.KubeConfig != "" || server != nil && server.Hostname() != "kubernetes" && !strings.HasPrefix(server.Hostname(), "kubernetes.default")
	})
}

// clusterWideMetadata are the metadata of a pod job that need objects of other nodes.
func clusterWideMetadata(job *promconfig.ScrapeConfig) []string {
	costs := map[string]bool{}
	for _, sd := range job.ServiceDiscoveryConfigs {
		if k8s, ok := sd.(*kubernetes.SDConfig); ok && k8s.Role == kubernetes.RolePod {
			m := k8s.AttachMetadata
			for name, on := range map[string]bool{"namespace": m.Namespace, "deployment": m.Deployment, "job": m.Job, "cronjob": m.CronJob} {
				if on {
					costs[name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(costs))
}
