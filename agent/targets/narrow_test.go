// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

func TestNarrowed(t *testing.T) {
	type selectors = []kubernetes.SelectorConfig
	for name, c := range map[string]struct {
		sd   string
		want selectors
	}{
		"pods":                {`{role: pod}`, selectors{{Role: "pod", Field: "spec.nodeName=n1"}}},
		"nodes":               {`{role: node}`, selectors{{Role: "node", Field: "metadata.name=n1"}}},
		"pods and their node": {`{role: pod, attach_metadata: {node: true}}`, selectors{{Role: "pod", Field: "spec.nodeName=n1"}, {Role: "node", Field: "metadata.name=n1"}}},
		"the user's own": {
			`{role: pod, selectors: [{role: pod, label: "app=x", field: "status.phase=Running"}]}`,
			selectors{{Role: "pod", Label: "app=x", Field: "status.phase=Running,spec.nodeName=n1"}},
		},
		"the user's label": {`{role: node, selectors: [{role: node, label: "a in (b,c)"}]}`, selectors{{Role: "node", Label: "a in (b,c)", Field: "metadata.name=n1"}}},
		"the user's node":  {`{role: pod, selectors: [{role: pod, field: "spec.nodeName=n1"}]}`, selectors{{Role: "pod", Field: "spec.nodeName=n1"}}},
		"another's node":   {`{role: pod, selectors: [{role: pod, field: "spec.nodeName=n2"}]}`, selectors{{Role: "pod", Field: "spec.nodeName=n2,spec.nodeName=n1"}}},
		"not equal":        {`{role: pod, selectors: [{role: pod, field: "metadata.namespace!=kube-system"}]}`, selectors{{Role: "pod", Field: "metadata.namespace!=kube-system,spec.nodeName=n1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := jobs(t, "- {job_name: j, kubernetes_sd_configs: ["+c.sd+"]}\n")
			before := cfg.Prometheus.String()
			configs := narrowed(cfg.Prometheus.ScrapeConfigs[0].ServiceDiscoveryConfigs, "n1")
			if diff := cmp.Diff(c.want, configs[0].(*kubernetes.SDConfig).Selectors); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, cfg.Prometheus.String()); diff != "" {
				t.Errorf("the config given was changed:\n%s", diff)
			}
		})
	}
}
