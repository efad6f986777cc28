// SPDX-License-Identifier: Apache-2.0

package status

// RuleCount is what a rule of write_relabel_configs has dropped of what was to go
// to its destination, since the process, or the destination in it, began. All
// rules that can drop are there, those that dropped nothing too.
type RuleCount struct {
	Destination string `json:"destination"` // Name of Destination
	Rule        int    `json:"rule"`        // its place in write_relabel_configs, from 0
	Text        string `json:"text"`        // the rule as the config has it, in YAML on one line
	Samples     int64  `json:"samples"`     // dropped, histograms too
}
