// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
)

// explainData is what the page that explains shows.
type explainData struct {
	Can              bool
	Query, Name, Job string // what is asked for
	Names            []string
	Target           *status.TargetExplanation
	Metric           *status.MetricExplanation
	Error            string
}

func (s *Server) explainPage(l *look, r *http.Request) (any, error) {
	query := r.URL.Query()
	data := explainData{
		Can: s.opts.Explain != nil, Query: strings.TrimSpace(parameter(query, "q")), Name: strings.TrimSpace(parameter(query, "name")), Job: parameter(query, "job"),
	}
	for _, j := range l.Jobs[:min(len(l.Jobs), choicesMost)] {
		data.Names = append(data.Names, j.Name)
	}
	if s.opts.Explain == nil {
		return data, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainPatience)
	defer cancel()
	var err error
	switch {
	case data.Query != "":
		var e status.TargetExplanation
		if e, err = s.opts.Explain.ExplainTarget(ctx, data.Query); err == nil {
			data.Target = fewer(&e)
		}
	case data.Name != "":
		var e status.MetricExplanation
		if e, err = s.askMetric(ctx, data.Name, data.Job); err == nil {
			data.Metric = fewerOfMetric(&e)
		}
	}
	if err != nil {
		data.Error = words(err.Error())
	}
	return data, nil
}

// What is shown of an explanation.
const (
	explainedMost = 20
	stepsMost     = 60
	jobsMost      = 100
)

// fewer leaves out what nobody reads to the end.
func fewer(e *status.TargetExplanation) *status.TargetExplanation {
	e.Truncated = e.Truncated || len(e.Matches) > explainedMost
	e.Matches = e.Matches[:min(len(e.Matches), explainedMost)]
	e.Jobs = e.Jobs[:min(len(e.Jobs), jobsMost)]
	for i := range e.Matches {
		e.Matches[i].Steps = lastSteps(e.Matches[i].Steps)
	}
	return e
}

func fewerOfMetric(e *status.MetricExplanation) *status.MetricExplanation {
	e.Jobs = e.Jobs[:min(len(e.Jobs), jobsMost)]
	e.Destinations = e.Destinations[:min(len(e.Destinations), destinationsMost)]
	for i := range e.Jobs {
		j := &e.Jobs[i]
		j.Rules, j.Series = j.Rules[:min(len(j.Rules), stepsMost)], fewSeries(j.Series)
		j.Errors = j.Errors[:min(len(j.Errors), 3)]
	}
	for i := range e.Destinations {
		d := &e.Destinations[i]
		d.Rules, d.Series = d.Rules[:min(len(d.Rules), stepsMost)], fewSeries(d.Series)
	}
	return e
}

func fewSeries(list []status.MetricExample) []status.MetricExample {
	list = list[:min(len(list), 3)]
	for i := range list {
		list[i].Steps = lastSteps(list[i].Steps)
	}
	return list
}

// lastSteps are the ones with the rule that dropped it.
func lastSteps(steps []status.RelabelStep) []status.RelabelStep {
	steps = steps[max(len(steps)-stepsMost, 0):]
	for i := range steps {
		steps[i].Changes = steps[i].Changes[:min(len(steps[i].Changes), labelsMost)]
		steps[i].Source = steps[i].Source[:min(len(steps[i].Source), 10)]
	}
	return steps
}

// labelMap are the labels of an explanation, as many as are shown of a target.
func labelMap(m map[string]string) []labelView {
	list, _ := labelViews(labels.FromMap(m))
	return list
}
