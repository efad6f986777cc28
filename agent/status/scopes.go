// SPDX-License-Identifier: Apache-2.0

package status

// Scopes is whose targets an agent scrapes, and who scrapes the others.
type Scopes struct {
	Node  string `json:"node"`  // "" when node jobs are scraped whole
	Scope string `json:"scope"` // --scrape.scope
	Lease *Lease `json:"lease"` // nil when there is none
	Jobs  []Job  `json:"jobs"`  // in the order of the config
}

// Lease is the Lease as this agent sees it.
type Lease struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Identity  string `json:"identity"` // of this agent
	Holder    string `json:"holder"`   // "" is nobody
	Held      bool   `json:"held"`     // by this agent, which is sure of it
	Error     string `json:"error,omitempty"`
}

// Job is whose a job's targets are.
type Job struct {
	Name    string `json:"job"`
	Scope   string `json:"scope"`
	Scraped bool   `json:"scraped"`      // here, all of it or this node's part
	By      string `json:"by,omitempty"` // the agent that scrapes it, if not this one and if known
	Reason  string `json:"reason"`
}
