// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"strings"

	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"torchbearer/agent/status"
)

// RuleCounts tells what each rule of write_relabel_configs that can drop has
// dropped, by destination in the order of the config.
func (s *Shipper) RuleCounts() []status.RuleCount {
	all := []status.RuleCount{}
	for _, d := range *s.running.Load() {
		all = append(all, d.ruleCounts()...)
	}
	return all
}

func (d *destination) ruleCounts() []status.RuleCount {
	set := d.set.Load()
	counts, _ := d.ledger.ruleCounts(set)
	var all []status.RuleCount
	for i, r := range set.relabel {
		if drops(r) {
			all = append(all, status.RuleCount{Destination: set.name, Rule: i, Text: set.rules[i], Samples: counts[i]})
		}
	}
	return all
}

// drops says whether a rule can drop a series.
func drops(r *relabel.Config) bool {
	switch r.Action {
	case relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual:
		return true
	default:
		return false
	}
}

// oneLine is a rule as YAML on one line.
func oneLine(r *relabel.Config) string {
	var node yaml.Node
	if err := node.Encode(r); err != nil {
		return string(r.Action)
	}
	node.Style = yaml.FlowStyle
	text, err := yaml.Marshal(&node)
	if err != nil {
		return string(r.Action)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}
