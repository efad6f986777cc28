// SPDX-License-Identifier: Apache-2.0

package status

import "time"

// About is who an agent is, and how it is as a whole.
type About struct {
	Node string `json:"node"` // "" when it is not known
	Host string `json:"host"`
	// Labels are the external labels, which every series leaves with: the
	// mandatory ones first.
	Labels     []Label   `json:"labels"`
	Version    string    `json:"version"`
	Revision   string    `json:"revision"`
	ConfigFile string    `json:"configFile"`
	ConfigHash string    `json:"configHash"` // of the files of the running config, the same in all agents that have them
	Started    time.Time `json:"started"`
	// NotReady is why the agent does not do its work yet, "" when it does.
	NotReady string `json:"notReady,omitempty"`
	// Notice is in what way it is not as its user wants it, though it is ready.
	Notice string `json:"notice,omitempty"`
}

// Label is one external label.
type Label struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Mandatory bool   `json:"mandatory"`
}

// Samples is what the last scrape of a target brought.
type Samples struct {
	Scraped int64 `json:"scraped"` // exposed by the target
	Kept    int64 `json:"kept"`    // left by metric_relabel_configs
	Added   int64 `json:"added"`   // series that were new
}
