// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

const (
	discoveredAPage = 50
	searchFor       = 150 * time.Millisecond // in the labels of discovered targets, which have to be put together for it
	searchStep      = 64                     // targets between two looks at the clock
)

// discoveryData is what the page of discovered targets shows.
type discoveryData struct {
	Job, State, Text string // the filter
	Choices          []job
	Pager            pager
	List             []discoveredView
	Searched, Of     int // Of is 0 when all were searched
	Unkept           int // dropped targets that keep_dropped_targets does not keep
}

type discoveredView struct {
	ID, Job, Address      string
	Dropped               bool
	Health, Level         string
	Rule                  int // the one that dropped it; 0 is not known
	RuleText, Looked      string
	Before, After         []labelView
	MoreBefore, MoreAfter int
	Explain               string
}

// discovered is one target that discovery sent.
type discovered struct {
	job     string
	target  *scrape.Target
	dropped bool
}

func (s *Server) discoveryPage(l *look, r *http.Request) (any, error) {
	query := r.URL.Query()
	data := discoveryData{
		Job: parameter(query, "job"), State: oneOf(query, "state", "scraped", "dropped"), Text: parameter(query, "q"),
	}
	data.Choices = l.Jobs[:min(len(l.Jobs), choicesMost)]
	list, kept := s.discovered(l, data.Job, data.State)
	for _, j := range l.Jobs {
		if data.Job == "" || data.Job == key(j.Name) {
			data.Unkept += j.Dropped
		}
	}
	data.Unkept = max(data.Unkept-kept, 0)
	if data.State == "scraped" {
		data.Unkept = 0
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	if data.Text != "" {
		all := len(list)
		if list, data.Searched = search(list, data.Text, time.Now().Add(searchFor), b); data.Searched < all {
			data.Of = all
		}
	}
	data.Pager = newPager(query, len(list), discoveredAPage)
	for _, d := range list[data.Pager.First:data.Pager.End] {
		data.List = append(data.List, s.discoveredView(d, b))
	}
	return data, nil
}

// discovered lists what discovery sent, the dropped ones first: they are what people look for. Kept is how many those are.
func (s *Server) discovered(l *look, job, state string) (list []discovered, kept int) {
	dropped := s.opts.Targets.TargetsDropped()
	for _, gone := range []bool{true, false} {
		targets := l.active
		if gone {
			targets = dropped
		}
		if gone && state == "scraped" || !gone && state == "dropped" {
			continue
		}
		for _, j := range l.Jobs {
			if job != "" && job != key(j.Name) {
				continue
			}
			for _, t := range targets[j.Name] {
				list = append(list, discovered{j.Name, t, gone})
			}
		}
		if gone {
			kept = len(list)
		}
	}
	return list, kept
}

// search is the targets that have the text in a label, of as many as there is time for.
func search(list []discovered, text string, until time.Time, b *labels.Builder) (hits []discovered, searched int) {
	text = strings.ToLower(text)
	for i, d := range list {
		if i%searchStep == searchStep-1 && time.Now().After(until) {
			return hits, i
		}
		is := strings.Contains(strings.ToLower(d.job), text)
		has := func(l labels.Label) {
			value := config.HideSecretLabel(l.Name, l.Value)
			is = is || strings.Contains(strings.ToLower(value), text) || strings.Contains(strings.ToLower(l.Name+"="+value), text)
		}
		d.target.DiscoveredLabels(b).Range(has)
		d.target.LabelsRange(has)
		if is {
			hits = append(hits, d)
		}
	}
	return hits, len(list)
}

func (s *Server) discoveredView(d discovered, b *labels.Builder) discoveredView {
	before := d.target.DiscoveredLabels(b)
	address := before.Get("__address__")
	v := discoveredView{
		ID: anchor(d.job, before.String()), Job: brief(d.job), Address: brief(address), Dropped: d.dropped,
		Explain: clip(address, longestQuery),
	}
	v.Before, v.MoreBefore = labelViews(before)
	if !d.dropped {
		v.After, v.MoreAfter = labelViews(d.target.Labels(b))
		v.Health, v.Level = healthWords(d.target.Health())
		return v
	}
	v.Health, v.Level = "dropped", levelNone
	if s.opts.Relabelled == nil {
		return v
	}
	if steps := s.opts.Relabelled(d.job, before); len(steps) > 0 && steps[len(steps)-1].Dropped {
		step := steps[len(steps)-1]
		v.Rule, v.RuleText, v.Looked = step.Rule, trouble(step.Text), looked(step.Source)
	}
	return v
}

// healthWords is the health of a target, and how bad that is.
func healthWords(h scrape.TargetHealth) (words, level string) {
	switch h {
	case scrape.HealthGood:
		return "up", levelGood
	case scrape.HealthBad:
		return "down", levelBad
	default:
		return "not scraped yet", levelWarn
	}
}

// looked is what a rule looked at, in words.
func looked(source []status.LabelValue) string {
	parts := make([]string, 0, len(source))
	for _, l := range source[:min(len(source), 10)] {
		value := config.HideSecretLabel(l.Name, l.Value)
		if value == "" {
			parts = append(parts, brief(l.Name)+" is not there")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s is “%s”", brief(l.Name), brief(value)))
	}
	return strings.Join(parts, ", ")
}
