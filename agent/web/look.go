// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/version"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// look is the agent at one moment, as the pages show it.
type look struct {
	Now          time.Time
	About        status.About
	Scopes       status.Scopes
	Destinations []status.Destination
	Jobs         []job         // in the order of the config, then others
	Targets      job           // all of them
	Series       status.Series // nothing when !Counted
	Counted      bool
	Log          []status.LogLine

	active map[string][]*scrape.Target
}

// job is how the targets of a job are.
type job struct {
	Name              string
	Up, Down, New     int
	Dropped           int
	Scope, By, Reason string // from status.Scopes
	Scraped           bool
}

// Active is how many targets are scraped.
func (j job) Active() int { return j.Up + j.Down + j.New }

// look asks the agent for everything once.
func (s *Server) look() *look {
	l := &look{Now: time.Now(), Scopes: s.opts.Scopes(), active: s.opts.Targets.TargetsActive()}
	l.Destinations = s.opts.Destinations()
	l.About = s.about(l)
	if s.opts.Series != nil {
		l.Series, l.Counted = s.opts.Series(), true
	}
	if s.opts.LogTail != nil {
		l.Log = s.opts.LogTail()
	}
	l.count(s.opts.Targets.TargetsDroppedCounts())
	return l
}

// about is what the agent says of itself, or what is known without it.
func (s *Server) about(l *look) status.About {
	if s.opts.About != nil {
		return s.opts.About()
	}
	host, _ := os.Hostname() // "" says that it is not known.
	about := status.About{
		Node: l.Scopes.Node, Host: host, Version: version.Version, Revision: version.GetRevision(), Started: s.opts.Started,
	}
	if err := s.opts.Agent.Ready(); err != nil {
		about.NotReady = err.Error()
	}
	if n, ok := s.opts.Agent.(noticer); ok {
		about.Notice = n.Notice()
	}
	return about
}

// count makes Jobs and Targets.
func (l *look) count(dropped map[string]int) {
	at := map[string]int{}
	add := func(name string) *job {
		if _, ok := at[name]; !ok {
			at[name] = len(l.Jobs)
			l.Jobs = append(l.Jobs, job{Name: name, Scraped: true})
		}
		return &l.Jobs[at[name]]
	}
	for _, of := range l.Scopes.Jobs {
		j := add(of.Name)
		j.Scope, j.By, j.Reason, j.Scraped = of.Scope, of.By, of.Reason, of.Scraped
	}
	for _, name := range slices.Sorted(maps.Keys(l.active)) {
		j := add(name)
		for _, t := range l.active[name] {
			switch t.Health() {
			case scrape.HealthGood:
				j.Up++
			case scrape.HealthBad:
				j.Down++
			default:
				j.New++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropped)) {
		add(name).Dropped = dropped[name]
	}
	for _, j := range l.Jobs {
		l.Targets.Up += j.Up
		l.Targets.Down += j.Down
		l.Targets.New += j.New
		l.Targets.Dropped += j.Dropped
	}
}

// at is a time of the agent, for people.
func (l *look) at(t time.Time) moment { return moment{t, l.Now} }

// since is at of a time that there need not be.
func (l *look) since(t *time.Time) moment {
	if t == nil {
		return moment{now: l.Now}
	}
	return l.at(*t)
}

// Up is since when the process runs.
func (l *look) Up() moment { return l.at(l.About.Started) }

// Who is what tells this agent from others: its node, or its host.
func (l *look) Who() string { return brief(cmp.Or(l.About.Node, l.About.Host)) }
