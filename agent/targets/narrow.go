// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"slices"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"k8s.io/apimachinery/pkg/fields"
)

// narrowed returns a copy of configs that discovers what is on the node and
// nothing else, all of it being of the roles pod and node.
func narrowed(configs discovery.Configs, node string) discovery.Configs {
	copies := make(discovery.Configs, 0, len(configs))
	for _, c := range configs {
		if k8s, ok := c.(*kubernetes.SDConfig); ok {
			c = narrow(k8s, node)
		}
		copies = append(copies, c)
	}
	return copies
}

func narrow(c *kubernetes.SDConfig, node string) *kubernetes.SDConfig {
	narrow := *c
	narrow.Selectors = slices.Clone(c.Selectors)
	if c.Role == kubernetes.RolePod {
		selectField(&narrow, kubernetes.RolePod, "spec.nodeName", node)
	}
	if c.Role == kubernetes.RoleNode || c.AttachMetadata.Node {
		selectField(&narrow, kubernetes.RoleNode, "metadata.name", node)
	}
	return &narrow
}

// selectField adds a field to the selector for objects of the role, which may be
// the user's.
func selectField(c *kubernetes.SDConfig, role kubernetes.Role, field, value string) {
	term := fields.OneTermEqualSelector(field, value)
	i := slices.IndexFunc(c.Selectors, func(s kubernetes.SelectorConfig) bool { return s.Role == role })
	if i < 0 {
		c.Selectors = append(c.Selectors, kubernetes.SelectorConfig{Role: role, Field: term.String()})
		return
	}
	own, err := fields.ParseSelector(c.Selectors[i].Field)
	if err != nil || own.Empty() {
		// The config was checked: only an empty one is left.
		c.Selectors[i].Field = term.String()
		return
	}
	if known, ok := own.RequiresExactMatch(field); ok && known == value {
		return // As users write it who come from a Prometheus on each node.
	}
	c.Selectors[i].Field = fields.AndSelectors(own, term).String()
}
