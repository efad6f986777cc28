// SPDX-License-Identifier: Apache-2.0

package config

import "testing"

func TestScope(t *testing.T) {
	cfg := parse(t, `
global: {external_labels: {clustername: c, environment: e}}
agent: {scopes: {named: every}}
scrape_configs:
  - {job_name: pods, kubernetes_sd_configs: [{role: pod}]}
  - {job_name: nodes and pods, kubernetes_sd_configs: [{role: node}, {role: pod}]}
  - {job_name: services, kubernetes_sd_configs: [{role: service}]}
  - {job_name: pods and more, kubernetes_sd_configs: [{role: pod}], static_configs: [{targets: [a]}]}
  - {job_name: static, static_configs: [{targets: [a]}]}
  - {job_name: nothing}
  - {job_name: named, static_configs: [{targets: [b]}]}
remote_write: [{url: http://central.example}]
`, required())
	want := map[string]Scope{
		"pods": ScopeNode, "nodes and pods": ScopeNode,
		"services": ScopeCluster, "pods and more": ScopeCluster, "static": ScopeCluster, "nothing": ScopeCluster,
		"named": ScopeEvery,
	}
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		if got := cfg.Scope(job); got != want[job.JobName] {
			t.Errorf("job %q has scope %s, want %s", job.JobName, got, want[job.JobName])
		}
		delete(want, job.JobName)
	}
	if len(want) > 0 {
		t.Errorf("not asked for: %v", want)
	}
}
