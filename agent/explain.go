// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/explain"
	"torchbearer/agent/status"
	"torchbearer/config"
)

// ExplainTarget tells which jobs see the job, target or pod that query names, and
// what became of it there.
func (a *Agent) ExplainTarget(ctx context.Context, query string) (status.TargetExplanation, error) {
	manager := a.scraper.Manager()
	return explain.Target(ctx, query, explain.Targets{
		Config: a.runs(), Groups: a.scraper.Groups(),
		Active: manager.TargetsActive(), Dropped: manager.TargetsDroppedCounts(),
		Scopes: a.targets.Status(), PodNode: a.targets.PodNode,
	}), nil
}

// ExplainMetric tells what becomes of the samples of a metric, of one job or, when
// that is "", of all. For that some targets are scraped once more, which is done
// for one question at a time; ctx ends the waiting.
func (a *Agent) ExplainMetric(ctx context.Context, name, job string) (status.MetricExplanation, error) {
	select {
	case a.asking <- struct{}{}:
		defer func() { <-a.asking }()
	case <-ctx.Done():
		return status.MetricExplanation{}, fmt.Errorf("wait for the explanation under way: %w", ctx.Err())
	}
	return explain.Metric(ctx, name, job, explain.Metrics{
		Config: a.runs(), Active: a.scraper.Manager().TargetsActive(), Scopes: a.targets.Status(),
		Ask: a.scraper.Ask, Totals: a.scraper.Totals, Logged: a.scraper.Logged, Doors: a.doors(),
	}), nil
}

// Relabelled tells what the rules of the job do to a target with these labels.
func (a *Agent) Relabelled(job string, discovered labels.Labels) []status.RelabelStep {
	for _, known := range a.runs().Prometheus.ScrapeConfigs {
		if known.JobName == job {
			return explain.Discovered(known, discovered)
		}
	}
	return []status.RelabelStep{}
}

func (a *Agent) runs() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}

func (a *Agent) doors() []explain.Door {
	var all []explain.Door
	for _, d := range a.shipper.Doors() {
		all = append(all, explain.Door{Name: d.Name, URL: d.URL, Rules: d.Rules, Dropped: d.Dropped, Since: d.Since, Enter: d.Enter, Leave: d.Leave})
	}
	return all
}
