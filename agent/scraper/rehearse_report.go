// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/status"
	"torchbearer/config"
)

// report is all that was found out.
func (st *rehearsalStage) report() Rehearsed {
	r := Rehearsed{
		Jobs: map[string]*status.ReportJob{}, Series: len(st.seen),
		Collisions: []status.ReportCollision{}, Spoofed: []status.ReportSpoofed{},
	}
	for _, name := range st.order {
		j := st.jobs[name]
		r.Jobs[name] = j.told()
		r.Findings = append(r.Findings, j.targetRules.Suspect(name, "relabel_configs", "targets")...)
		r.Findings = append(r.Findings, j.metricRules.Suspect(name, "metric_relabel_configs", "samples")...)
	}
	for _, c := range st.collisions {
		slices.Sort(c.Examples)
		r.Collisions = append(r.Collisions, *c)
	}
	slices.SortFunc(r.Collisions, func(a, b status.ReportCollision) int {
		return cmp.Or(b.Series-a.Series, slices.Compare(a.Jobs, b.Jobs))
	})
	for _, s := range st.spoofed {
		slices.Sort(s.Values)
		r.Spoofed = append(r.Spoofed, *s)
	}
	slices.SortFunc(r.Spoofed, func(a, b status.ReportSpoofed) int {
		return cmp.Or(strings.Compare(a.Job, b.Job), strings.Compare(a.Label, b.Label))
	})
	r.Findings = append(r.Findings, st.sameURLs()...)
	return r
}

// sameURLs tells of jobs that scrape the same: what they say is there twice.
func (st *rehearsalStage) sameURLs() []status.Finding {
	first := map[string]string{}
	shared := map[[2]string][]string{}
	for _, name := range st.order {
		for url := range st.jobs[name].urls {
			other, ok := first[url]
			if !ok {
				first[url] = name
				continue
			}
			pair := [2]string{other, name}
			shared[pair] = append(shared[pair], url)
		}
	}
	var found []status.Finding
	pairs := slices.SortedFunc(maps.Keys(shared), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, pair := range pairs {
		urls := shared[pair]
		found = append(found, status.Finding{
			Level: status.LevelHint, Kind: "same_target_twice", Job: pair[1],
			Text: fmt.Sprintf("jobs %s and %s both scrape %d of the same URLs, for example %s",
				pair[0], pair[1], len(urls), rulebook.Clip(config.HideSecrets(slices.Min(urls)), maxText)),
			Remedy: "leave them out of one of the jobs, unless it keeps other metrics",
		})
	}
	return found
}
