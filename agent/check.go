// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/rehearsal"
	"torchbearer/agent/scraper"
	"torchbearer/agent/shipper"
	"torchbearer/agent/status"
	"torchbearer/agent/targets"
	"torchbearer/config"
)

const (
	// longestDiscovery is how long discoveries may take to send their first
	// targets: as long as readiness waits for them.
	longestDiscovery = syncGrace
	// scrapesAtOnce is how many scrapes a check makes at the same time, and
	// scrapesBeside how many where an agent is at work too.
	scrapesAtOnce = 16
	scrapesBeside = 8
)

// CheckOptions say what Check works with.
type CheckOptions struct {
	ConfigFile string
	Config     config.Options
	Scraper    scraper.Options // without Sink and Registry
	// Targets tells whose targets are looked at, from Locate on.
	Targets *targets.Targets
	// All is that also those jobs are looked at that another agent scrapes.
	All bool
	// Running is what to compare with; nil is nothing.
	Running *rehearsal.Running

	atOnce   int // 0 is scrapesAtOnce
	findings []status.Finding
}

// Check finds out what the config file would do, and changes nothing. Its targets
// are scraped once, and its destinations get an empty request. It ends soon after
// ctx does, with what is known by then. That the config is bad is in the report.
func Check(ctx context.Context, opts CheckOptions) (status.Report, error) {
	begun := time.Now()
	cfg, err := config.Load(opts.ConfigFile, opts.Config)
	if err != nil {
		return rehearsal.Refused(opts.ConfigFile, err), nil
	}
	if err := scraper.CheckClients(cfg); err != nil {
		return rehearsal.Refused(opts.ConfigFile, err), nil
	}
	destinations, err := shipper.Rehearse(cfg, opts.Scraper.TypeAndUnitLabels)
	if err != nil {
		return rehearsal.Refused(opts.ConfigFile, err), nil
	}
	defer destinations.Close()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		destinations.Ask(ctx)
	}()
	report := status.Report{File: opts.ConfigFile, Hash: cfg.Hash(), Labels: map[string]string{}, Findings: opts.findings}
	cfg.Prometheus.GlobalConfig.ExternalLabels.Range(func(l labels.Label) { report.Labels[l.Name] = l.Value })
	for _, hint := range cfg.Hints {
		report.Findings = append(report.Findings, status.Finding{Level: status.LevelHint, Kind: "config", Text: hint.String()})
	}
	err = rehearseScrapes(ctx, &opts, cfg, destinations.Taste, &report)
	<-asked
	if err != nil {
		return status.Report{}, err
	}
	told, findings := destinations.Report()
	report.Destinations, report.Findings = told, append(report.Findings, findings...)
	if opts.Running != nil {
		if err := rehearsal.Compare(opts.Running, cfg, &report); err != nil {
			return status.Report{}, err
		}
	}
	report.Seconds = time.Since(begun).Seconds()
	rehearsal.Conclude(&report)
	return report, nil
}

// rehearseScrapes discovers and scrapes, and puts what it finds into the report.
func rehearseScrapes(ctx context.Context, opts *CheckOptions, cfg *config.Config, taste func(labels.Labels), report *status.Report) error {
	patience := longestDiscovery
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	found, err := opts.Targets.Rehearse(ctx, cfg, patience, opts.All)
	if err != nil {
		return err
	}
	atOnce := scrapesAtOnce
	if opts.atOnce > 0 {
		atOnce = opts.atOnce
	}
	scraped, err := scraper.Rehearse(ctx, cfg, opts.Scraper, scraper.Rehearsal{Groups: found.Groups, AtOnce: atOnce, Taste: taste})
	if err != nil {
		return err
	}
	report.Scopes = found.Scopes
	report.Findings = append(report.Findings, scraped.Findings...)
	report.Series = status.ReportSeries{Total: scraped.Series, Limit: cfg.Agent.Limits.MaxSeries}
	report.Collisions, report.Spoofed = scraped.Collisions, scraped.Spoofed
	for _, job := range found.Scopes.Jobs {
		j := status.ReportJob{}
		if known := scraped.Jobs[job.Name]; known != nil {
			j = *known
		}
		j.Job, j.Scope, j.Scraped, j.By, j.Reason = job.Name, job.Scope, job.Scraped, job.By, job.Reason
		j.SilentSD, j.SeriesLimit = found.Silent[job.Name], cfg.Agent.Limits.MaxSeriesOf(job.Name)
		if j.Targets.NotAsked > 0 {
			report.CutOff = append(report.CutOff, fmt.Sprintf("%d targets of job %s have not answered by then", j.Targets.NotAsked, job.Name))
		}
		report.Jobs = append(report.Jobs, j)
	}
	return nil
}

// BusyError says that something can be done by one at a time only, and is being
// done.
type BusyError struct{ what string }

// Error implements error.
func (e *BusyError) Error() string { return e.what }

// Busy is true.
func (e *BusyError) Busy() bool { return true }

// DryRun finds out what a reload would do, and changes nothing. One runs at a
// time: another meanwhile gets a BusyError. Reloads are not kept waiting.
func (a *Agent) DryRun(ctx context.Context) (status.Report, error) {
	select {
	case <-a.stopping:
		return status.Report{}, errStopping
	case <-a.begun:
	case <-ctx.Done():
		return status.Report{}, fmt.Errorf("wait for the log to be opened: %w", ctx.Err())
	}
	select {
	case a.checking <- struct{}{}:
		defer func() { <-a.checking }()
	default:
		return status.Report{}, &BusyError{"a dry run is under way; try again when it has ended"}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-a.stopping:
			cancel() // A stop does not wait for it.
		case <-ended:
		}
	}()
	return Check(ctx, CheckOptions{
		ConfigFile: a.opts.ConfigFile, Config: a.opts.Config, Scraper: a.opts.Scraper, Targets: a.targets,
		Running: a.runsNow(), atOnce: scrapesBeside,
	})
}

// runsNow is what runs, for a comparison.
func (a *Agent) runsNow() *rehearsal.Running {
	a.mu.Lock()
	running, text := a.running, a.text
	a.mu.Unlock()
	r := &rehearsal.Running{Against: "the running config", Config: text(), Hash: running.Hash(), Targets: map[string]int{}}
	for job, active := range a.scraper.Manager().TargetsActive() {
		r.Targets[job] = len(active)
	}
	series := a.wal.Series()
	r.TakeSeries(&series)
	return r
}
