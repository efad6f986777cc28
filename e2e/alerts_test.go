// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// wantedAlerts are the alerts that fire on the stage, with labels that they have, and those of which no other may fire.
func wantedAlerts() (wanted map[string]string, only []string) {
	in := func(cluster string, more ...string) string {
		return strings.Join(append([]string{`clustername="` + cluster + `"`}, more...), ", ")
	}
	return map[string]string{
		"TorchbearerClusterSilent":    in(silentCluster, `environment="prod"`),
		"TorchbearerAgentSilent":      in(mixedCluster, `instance="n3"`, `node="n3"`),
		"TorchbearerNodeWithoutAgent": in(mixedCluster, `node="n4"`),
		"TorchbearerBacklogGrowing":   in(troubleCluster, `remote_name="dead"`),
		"TorchbearerDataLost":         in(troubleCluster, `remote_name="refuses"`, `reason="refused_other"`),
		"TorchbearerBudgetShort":      in(troubleCluster, `remote_name="dead"`),
		"TorchbearerSeriesRefused":    in(troubleCluster, `job="grows"`),
		"TorchbearerConfigNotApplied": in(troubleCluster),
		"TorchbearerConfigDrift":      in(mixedCluster),
		"TorchbearerVersionDrift":     in(troubleCluster),
		"TorchbearerUnexpectedLabels": in(strayCluster, `environment="nonprod"`),
		"TorchbearerClusterNameTaken": in(troubleCluster),
		"TorchbearerClockSkew":        in(troubleCluster, `instance="n1"`),
	}, []string{"TorchbearerClusterSilent", "TorchbearerAgentSilent", "TorchbearerNodeWithoutAgent", "TorchbearerUnexpectedLabels", "TorchbearerClockSkew"}
}

// TestAlertsFire breaks a fleet in all ways that deploy/central alerts on, and waits until a real Prometheus tells of each;
// of what is well it tells nothing. Then every query of the dashboards is asked, and has an answer.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	wanted, only := wantedAlerts()
	_, groups := readRules(t, rulesFile)
	for name := range alertsOf(t, groups) {
		if wanted[name] == "" {
			t.Errorf("alert %s is not fired by this test", name)
		}
	}
	f := startAlertFleet(t)
	f.breakThings(t)

	missing := maps.Clone(wanted)
	until(t, 4*time.Minute, "all alerts fire", func(ctx context.Context) error {
		for name, labels := range missing {
			firing, err := process.Query(ctx, f.central, fmt.Sprintf("ALERTS{alertname=%q, alertstate=\"firing\", %s}", name, labels))
			if err != nil {
				return err
			}
			if len(firing) > 0 {
				delete(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("do not fire yet: %v", slices.Sorted(maps.Keys(missing)))
		}
		return nil
	})
	f.none(t, fmt.Sprintf("max_over_time(ALERTS{alertstate=\"firing\", clustername=%q}[1h])", wellCluster))
	for _, name := range only {
		f.none(t, fmt.Sprintf("max_over_time(ALERTS{alertname=%q, alertstate=\"firing\"}[1h]) unless max_over_time(ALERTS{alertname=%q, %s}[1h])",
			name, name, wanted[name]))
	}
	t.Run("dashboards", func(t *testing.T) { f.askDashboards(t) })
}

// none checks that a query has no answer.
func (f *fleet) none(t *testing.T, query string) {
	t.Helper()
	got, err := process.Query(t.Context(), f.central, query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	for _, s := range got {
		t.Errorf("this fires, and nothing is wrong: %v", s.Metric)
	}
}

// askDashboards asks every query of each panel and variable.
func (f *fleet) askDashboards(t *testing.T) {
	t.Helper()
	for name, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			m := regexp.MustCompile(`label_values\((.*), (\w+)\)`).FindStringSubmatch(string(v.Query))
			if m != nil {
				query := fmt.Sprintf("count by (%s) (%s)", m[2], strings.ReplaceAll(m[1], `\"`, `"`))
				f.answers(t, name+": variable "+v.Name, query)
			} else if v.Type != "datasource" {
				t.Errorf("%s: variable %s is neither a data source nor label_values: %s", name, v.Name, v.Query)
			}
		}
		for i := range d.Panels {
			for _, target := range d.Panels[i].Targets {
				f.answers(t, name+": "+d.Panels[i].String()+" "+target.RefID, target.Expr)
			}
		}
	}
}

// answers checks that a query of a dashboard has data, soon.
func (f *fleet) answers(t *testing.T, where, text string) {
	t.Helper()
	query := inGrafana(text, prod, mixedCluster, "n1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := process.Until(ctx, func() error {
		got, err := process.Query(ctx, f.central, query)
		if err == nil && len(got) == 0 {
			err = errNoData
		}
		return err
	}); err != nil {
		t.Errorf("%s: %v: %s", where, err, query)
	}
}
