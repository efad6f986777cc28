// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	"github.com/go-kit/log"

	"torchbearer/agent/rehearsal"
	"torchbearer/agent/status"
	"torchbearer/agent/targets"
	"torchbearer/config"
)

// CheckAlone is Check without an agent, by the options that one would have. It
// takes no lease; jobs whose lease another agent holds are looked at with all
// only. It compares with what the agent at runningURL runs, "" being none.
func CheckAlone(ctx context.Context, opts Options, all bool, runningURL string) (status.Report, error) {
	if _, err := config.Load(opts.ConfigFile, opts.Config); err != nil {
		return rehearsal.Refused(opts.ConfigFile, err), nil // Whatever the cluster says.
	}
	check := CheckOptions{ConfigFile: opts.ConfigFile, Config: opts.Config, Scraper: opts.Scraper, All: all}
	if runningURL != "" {
		running, err := rehearsal.Fetch(ctx, runningURL)
		if err != nil {
			return status.Report{}, err
		}
		check.Running = running
	}
	targetsOpts := opts.Targets
	targetsOpts.Logger = log.With(opts.Logger, "component", "targets")
	targetsOpts.Library, targetsOpts.Registry = opts.Library, opts.Registry
	var err error
	if check.Targets, err = targets.New(targetsOpts); err != nil { //nolint:contextcheck // What it begins ends with it.
		return status.Report{}, err
	}
	if err := check.Targets.Locate(ctx); err != nil {
		return status.Report{}, err
	}
	if err := check.Targets.Foresee(ctx); err != nil {
		check.findings = append(check.findings, status.Finding{
			Level: status.LevelWarning, Kind: "lease_unknown",
			Text: fmt.Sprintf("who holds the lease, and so has the cluster-scoped jobs, is not known: %v", err),
		})
	}
	return Check(ctx, check)
}
