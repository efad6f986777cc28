// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"torchbearer/e2e/process"
)

const (
	arrivedQuery = `count by (clustername, environment, job) ({job!=""})`
	rateQuery    = `rate(node_cpu_seconds_total{environment="local"}[1m])`
)

// show prints what the central has, and where to look.
func (s *stage) show(ctx context.Context, out io.Writer) error {
	found, err := process.Query(ctx, s.central.url(), arrivedQuery)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b process.Sample) int { return cmp.Compare(a.Metric["job"], b.Metric["job"]) })

	var b strings.Builder
	fmt.Fprintf(&b, "\nWhat has arrived at the central Prometheus, by its own query API:\n%s\n\n", arrivedQuery)
	const row = "  %-12s  %-12s  %-12s  %6s\n"
	fmt.Fprintf(&b, row, "CLUSTERNAME", "ENVIRONMENT", "JOB", "SERIES")
	for _, sample := range found {
		m := sample.Metric
		fmt.Fprintf(&b, row, m["clustername"], m["environment"], m["job"], fmt.Sprintf("%.0f", sample.Float()))
	}
	b.WriteString("\nTo open:\n")
	const line = "  %-20s %s\n"
	fmt.Fprintf(&b, line, "torchbearer", s.agent.url()+"/")
	fmt.Fprintf(&b, line, "its targets", s.agent.url()+"/api/v1/targets")
	fmt.Fprintf(&b, line, "its config", s.dir+"/torchbearer.yaml")
	fmt.Fprintf(&b, line, "", "(change it, then: curl -X POST "+s.agent.url()+"/-/reload)")
	fmt.Fprintf(&b, line, "node_exporter", s.node.url()+"/metrics")
	// Prometheus built from its Go module has no web pages, only the API.
	fmt.Fprintf(&b, line, "central, what is up", s.central.url()+"/api/v1/query?query=up")
	fmt.Fprintf(&b, line, "central, a query", s.central.url()+"/api/v1/query?query="+url.QueryEscape(rateQuery))
	_, err = io.WriteString(out, b.String())
	return err
}
