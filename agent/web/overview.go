// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"

	"torchbearer/agent/status"
)

const overviewMost = 50 // jobs and destinations on the overview

// overview is what the first page adds to the frame.
type overview struct {
	Destinations []destinationView
	MoreOfThem   int
	Graphs       []graph
	Jobs         []job
	MoreJobs     int
	Pending      int64
	Refused      bool
}

func (s *Server) overviewPage(l *look, _ *http.Request) (any, error) {
	o := overview{}
	for i := range l.Destinations {
		d := &l.Destinations[i]
		o.Pending += int64(d.Pending)
		if i < overviewMost {
			o.Destinations = append(o.Destinations, l.destination(d))
		}
		if i < 2 {
			g := backlogGraph(s.history.of(d.Name), l.Now)
			g.Title += " to " + brief(d.Name)
			o.Graphs = append(o.Graphs, g)
		}
	}
	o.MoreOfThem = max(len(l.Destinations)-overviewMost, 0)
	o.Jobs = l.Jobs[:min(len(l.Jobs), overviewMost)]
	o.MoreJobs = max(len(l.Jobs)-overviewMost, 0)
	return o, nil
}

// Share is how much of the whole a part is, from 0 to 100.
func share(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(max(part*100/whole, 0), 100))
}

// Budget is how much of its series budget the agent has used, in percent.
func (l *look) Budget() int { return share(l.Series.Active, l.Series.Limit) }

// Lease says in words whose the targets of the whole cluster are.
func (l *look) Lease() string {
	lease := l.Scopes.Lease
	switch {
	case lease == nil:
		return ""
	case lease.Error != "":
		return "unknown: " + words(lease.Error)
	case lease.Held:
		return "held by this agent: it also scrapes what belongs to no node"
	case lease.Holder == "":
		return "held by nobody yet"
	default:
		return "held by " + brief(lease.Holder) + ", which scrapes what belongs to no node"
	}
}

// Scope says in words which targets are this agent's.
func (l *look) Scope() string {
	switch {
	case l.Scopes.Node != "" && l.Scopes.Scope == "node":
		return "the targets of its node"
	case l.Scopes.Scope == "cluster":
		return "the targets that belong to no node"
	case l.Scopes.Node != "":
		return "the targets of its node, and those that belong to no node while it holds the Lease"
	default:
		return "all targets of its config"
	}
}

// External are the labels that every series leaves with.
func (l *look) External() []status.Label { return l.About.Labels[:min(len(l.About.Labels), 20)] }
