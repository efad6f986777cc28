// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"torchbearer/agent/status"
)

// vital is a thing that a heartbeat says. Its name comes behind
// torchbearer_agent_, its labels are pairs of name and value; a job among them
// stands in place of the heartbeat's own.
type vital struct {
	name   string
	kind   model.MetricType
	help   string
	labels []string
	value  float64
}

// vitals are how the agent is.
func (a *Agent) vitals() []vital {
	hash, trouble, lastGood := a.configState()
	all := []vital{
		{
			"info", model.MetricTypeGauge, "Always 1, with what the agent is.",
			[]string{
				"version", version.Version, "revision", version.Revision, "node", a.node(),
				"config_hash", hash, "cluster_uid", a.targets.ClusterUID(), "scope", a.targets.Status().Scope,
			},
			1,
		},
		gaugeVital("config_ok", "Whether the agent runs on its config file as it is.", oneIf(!trouble)),
		gaugeVital("config_last_good", "Whether the agent runs on the last good config because its config file is bad.", oneIf(lastGood)),
	}
	for _, d := range a.shipper.Status() {
		all = append(all, destinationVitals(&d)...)
	}
	return append(all, seriesVitals(a.wal.Series())...)
}

func destinationVitals(d *status.Destination) []vital {
	of := []string{"remote_name", d.Name}
	all := []vital{
		gaugeVital("backlog_samples", "Samples and histograms that have no answer of the destination yet.", float64(d.Ledger.Pending), of...),
		gaugeVital("backlog_seconds", "Age of the oldest sample without an answer of the destination, 0 if there is none.", d.BacklogSeconds, of...),
	}
	for reason, n := range d.Ledger.Lost {
		all = append(all, vital{
			"lost_samples_total", model.MetricTypeCounter, "Samples and histograms that the destination will never have, by reason, since the start.",
			append([]string{"reason", reason}, of...), float64(n),
		})
	}
	if d.ClockOffsetSeconds != nil {
		all = append(all, gaugeVital("clock_offset_seconds", "By how much the receiver's clock is ahead of the agent's.", *d.ClockOffsetSeconds, of...))
	}
	if d.BudgetHours != nil {
		all = append(all, gaugeVital("budget_hours", "How long the disk budget lasts at the present rate when nothing is sent.", *d.BudgetHours, of...))
	}
	return all
}

func seriesVitals(s status.Series) []vital {
	all := []vital{
		gaugeVital("series", "Active series.", float64(s.Active)),
		gaugeVital("series_limit", "Active series over which new ones are refused, 0 for no limit.", float64(s.Limit)),
	}
	for _, job := range s.Jobs {
		all = append(all, vital{
			"series_refused_total", model.MetricTypeCounter, "Samples of new series that were refused, since the start.",
			[]string{model.JobLabel, job.Job},
			float64(job.Refused),
		})
	}
	return all
}

func gaugeVital(name, help string, value float64, labels ...string) vital {
	return vital{name, model.MetricTypeGauge, help, labels, value}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// configState is the hash of the files of the running config, and whether that is
// not what the config file says now, or the last good one.
func (a *Agent) configState() (hash string, trouble, lastGood bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hash, a.trouble != nil, a.lastGood
}

// Cluster is the values of the mandatory labels of the running config, which tell
// agents apart, joined by dashes.
func (a *Agent) Cluster() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var values []string
	for _, label := range a.running.MandatoryLabels() {
		values = append(values, label.Value)
	}
	return strings.Join(values, "-")
}
