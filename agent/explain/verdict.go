// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"fmt"
	"strings"

	"torchbearer/agent/status"
)

// view tells how a job stands to what was asked for.
func (e *targets) view(place status.Job, s *seen) status.JobView {
	v := status.JobView{
		Job: s.job, Scope: place.Scope, Scraped: place.Scraped, By: place.By, Reason: place.Reason,
		Sees: s.total, Found: s.found, Dropped: e.Dropped[s.job],
	}
	switch {
	case !place.Scraped:
		v.Verdict = elsewhere(place)
	case s.found == 0:
		v.Verdict = "its discovery has found nothing here"
	case s.named:
		v.Verdict = fmt.Sprintf("of the %s that it discovered here, %d %s scraped and %d dropped by relabel_configs",
			count(s.found, "target"), s.up, areOrIs(s.up), v.Dropped)
	case s.up > 0:
		v.Verdict = "scrapes it"
	case len(s.others) > 0:
		v.Verdict = s.others[0].Verdict
	case s.total > 0:
		v.Verdict = "sees it"
	default:
		v.Verdict = fmt.Sprintf("discovered %s here, none of them this one", count(s.found, "target"))
		if place.Scope == "node" && e.Scopes.Node != "" {
			v.Verdict += "; it sees what is on node " + e.Scopes.Node + " only"
		}
	}
	return v
}

// elsewhere says who scrapes a job that this agent does not.
func elsewhere(place status.Job) string {
	if place.By != "" {
		return fmt.Sprintf("scraped by %s: %s; ask that agent", place.By, place.Reason)
	}
	return "not scraped here: " + place.Reason
}

// verdict is the whole in one sentence.
func (e *targets) verdict(ctx context.Context, told status.TargetExplanation) string {
	for _, v := range told.Jobs {
		if v.Job == e.query.text {
			return fmt.Sprintf("job %s: %s", v.Job, v.Verdict)
		}
	}
	if told.Total == 1 && len(told.Matches) == 1 {
		return fmt.Sprintf("job %s: %s", told.Matches[0].Job, told.Matches[0].Verdict)
	}
	if len(told.Matches) > 0 {
		by := map[string]int{}
		for _, m := range told.Matches {
			by[m.State]++
		}
		var parts []string
		for _, state := range []string{status.TargetScraped, status.TargetDropped, status.TargetInvalid, status.TargetPending} {
			if by[state] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", by[state], state))
			}
		}
		if !told.Truncated {
			return fmt.Sprintf("%s: %s", count(told.Total, "target"), strings.Join(parts, ", "))
		}
		return fmt.Sprintf("%s, of which %d are told: %s", count(told.Total, "target"), len(told.Matches), strings.Join(parts, ", "))
	}
	return e.nothing(ctx, told)
}

// nothing says why no job sees what was asked for.
func (e *targets) nothing(ctx context.Context, told status.TargetExplanation) string {
	text := fmt.Sprintf("no job sees %q here", told.Query)
	if e.PodNode != nil && e.query.url == nil && e.query.name != "" {
		node := e.PodNode(ctx, e.query.namespace, e.query.name)
		switch {
		case node == "":
		case node == e.Scopes.Node:
			return text + ", though it is a pod on this agent's node: no job's discovery selects it"
		case e.Scopes.Node == "":
			return fmt.Sprintf("%s; it is a pod on node %s", text, node)
		default:
			return fmt.Sprintf("%s: it is a pod on node %s, and this agent sees what is on node %s; ask the agent on %s", text, node, e.Scopes.Node, node)
		}
	}
	if e.Scopes.Node != "" {
		text += "; jobs of scope node see what is on node " + e.Scopes.Node + " only"
	}
	var others []string
	for _, v := range told.Jobs {
		if !v.Scraped {
			others = append(others, v.Job)
		}
	}
	if n := len(others); n > 0 {
		text += fmt.Sprintf("; %s not scraped here and may see it: %s", count(n, "job"), strings.Join(others[:min(n, 10)], ", "))
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func areOrIs(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
