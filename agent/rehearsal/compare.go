// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// Running is what runs, to compare with.
type Running struct {
	Against string // for people
	Config  string // as YAML, without secrets
	Hash    string // of the config, "" where not known
	Targets map[string]int
	Series  map[string]int64 // by job; nil is not known
	Active  *int64           // series of all jobs; nil is not known
}

// Compare tells what differs between what runs and what r says of cfg.
func Compare(running *Running, cfg *config.Config, r *status.Report) error {
	var was, is map[string]any
	if err := yaml.Unmarshal([]byte(running.Config), &was); err != nil {
		return fmt.Errorf("read the running config: %w", err)
	}
	if err := yaml.Unmarshal([]byte(cfg.String()), &is); err != nil {
		return fmt.Errorf("read the config as it would run: %w", err)
	}
	c := &status.ReportChanges{
		Against:      running.Against,
		Labels:       changedLabels(external(was), external(is)),
		Jobs:         changed(byName(was["scrape_configs"], "job_name"), byName(is["scrape_configs"], "job_name")),
		Destinations: changed(byName(was["remote_write"], "name", "url"), byName(is["remote_write"], "name", "url")),
		Other:        otherChanges(was, is),
		Counts:       counts(running, r),
	}
	c.Same = len(c.Labels)+len(c.Jobs)+len(c.Destinations)+len(c.Other) == 0
	if c.Same && running.Hash != "" && running.Hash != cfg.Hash() {
		c.Same, c.Other = false, []string{"what is not shown: secrets, or comments and the like"}
	}
	r.Changes, r.Series.Running = c, running.Active
	return nil
}

// external are the external labels of a config.
func external(cfg map[string]any) map[string]any {
	global, _ := cfg["global"].(map[string]any)
	found, _ := global["external_labels"].(map[string]any)
	return found
}

func changedLabels(was, is map[string]any) []status.ReportChange {
	var all []status.ReportChange
	for _, name := range names(was, is) {
		before, had := was[name]
		now, has := is[name]
		switch {
		case !had:
			all = append(all, status.ReportChange{Name: name, Change: "added", Fields: []string{fmt.Sprint(now)}})
		case !has:
			all = append(all, status.ReportChange{Name: name, Change: "removed", Fields: []string{fmt.Sprint(before)}})
		case !reflect.DeepEqual(before, now):
			all = append(all, status.ReportChange{Name: name, Change: "changed", Fields: []string{fmt.Sprint(before), fmt.Sprint(now)}})
		}
	}
	return all
}

// names are those of both, sorted.
func names(a, b map[string]any) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// byName are the items of a list by the first of the fields that they have.
func byName(list any, fields ...string) map[string]any {
	items, _ := list.([]any)
	all := map[string]any{}
	for _, item := range items {
		m, _ := item.(map[string]any)
		name := ""
		for _, field := range fields {
			if text, ok := m[field].(string); ok && name == "" {
				name = text
			}
		}
		key := name
		for n := 2; all[key] != nil; n++ {
			key = fmt.Sprintf("%s (%d)", name, n)
		}
		all[key] = m
	}
	return all
}

func changed(was, is map[string]any) []status.ReportChange {
	var all []status.ReportChange
	for _, name := range names(was, is) {
		before, had := was[name].(map[string]any)
		now, has := is[name].(map[string]any)
		switch fields := differing(before, now); {
		case !had:
			all = append(all, status.ReportChange{Name: name, Change: "added"})
		case !has:
			all = append(all, status.ReportChange{Name: name, Change: "removed"})
		case len(fields) > 0:
			all = append(all, status.ReportChange{Name: name, Change: "changed", Fields: fields})
		}
	}
	return all
}

func differing(was, is map[string]any) []string {
	var fields []string
	for _, name := range names(was, is) {
		if !reflect.DeepEqual(was[name], is[name]) {
			fields = append(fields, name)
		}
	}
	return fields
}

// otherChanges are the settings outside of jobs, destinations and external labels.
func otherChanges(was, is map[string]any) []string {
	var all []string
	for _, section := range differing(was, is) {
		if section == "scrape_configs" || section == "remote_write" {
			continue
		}
		before, _ := was[section].(map[string]any)
		now, _ := is[section].(map[string]any)
		for _, field := range differing(before, now) {
			if section != "global" || field != "external_labels" {
				all = append(all, section+"."+field)
			}
		}
		if before == nil && now == nil {
			all = append(all, section)
		}
	}
	return all
}

// counts compares targets and series of the jobs that are looked at or run.
func counts(running *Running, r *status.Report) []status.ReportCount {
	var all []status.ReportCount
	known := map[string]bool{}
	for i := range r.Jobs {
		j := &r.Jobs[i]
		known[j.Job] = true
		c := status.ReportCount{Job: j.Job}
		if j.Scraped {
			series := int64(j.Series)
			c.Targets, c.Series = &j.Targets.Kept, &series
		}
		all = append(all, counted(running, c))
	}
	for _, job := range slices.SortedFunc(maps.Keys(running.Targets), strings.Compare) {
		if !known[job] {
			none, noSeries := 0, int64(0)
			all = append(all, counted(running, status.ReportCount{Job: job, Targets: &none, Series: &noSeries}))
		}
	}
	return all
}

// counted adds what runs.
func counted(running *Running, c status.ReportCount) status.ReportCount {
	targets := running.Targets[c.Job]
	c.TargetsRunning = &targets
	if running.Series != nil {
		series := running.Series[c.Job]
		c.SeriesRunning = &series
	}
	return c
}
