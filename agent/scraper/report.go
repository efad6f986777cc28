// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/logged"
	"torchbearer/agent/upstream/scrape"
)

// ofReport ends the metric family name that the library gives to the samples
// that it adds to a scrape itself.
const ofReport = logged.OfReport

// isReportName says whether every scrape adds a sample of that name.
// https://prometheus.io/docs/concepts/jobs_instances/
func isReportName(name string) bool {
	switch name {
	case "up", "scrape_duration_seconds", "scrape_samples_scraped",
		"scrape_samples_post_metric_relabeling", "scrape_series_added":
		return true
	default:
		return false
	}
}

// posesAsReport says whether a sample that a target exposes, ls, is of a series that
// the agent itself adds to its scrape. The log would keep the one that comes
// first, and a receiver of remote write 1.0 refuse the whole request of both.
func posesAsReport(target *scrape.Target, ls labels.Labels) bool {
	if target == nil || !isReportName(ls.Get(model.MetricNameLabel)) {
		return false
	}
	same, own := true, 0
	target.LabelsRange(func(l labels.Label) {
		own++
		same = same && ls.Get(l.Name) == l.Value
	})
	return same && ls.Len() == own+1
}
