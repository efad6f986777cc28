// SPDX-License-Identifier: Apache-2.0

package scraper

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// never is when the first scrape would be by itself, in a rehearsal: its scrapes
// are those that end the loops.
const never = 365 * 24 * time.Hour

// rehearsalTick is how often is looked whether the library has taken up targets.
const rehearsalTick = 2 * time.Millisecond

// rehearsalPatience is how long the library may take for it, on a slow machine.
const rehearsalPatience = 20 * time.Second

// Rehearsal says what to scrape once, and keep nothing of.
type Rehearsal struct {
	Groups Groups // only jobs in it are scraped
	AtOnce int    // scrapes at once

	// Taste is called for each distinct series as it would be logged, by one
	// goroutine at a time; nil is not.
	Taste func(ls labels.Labels)
}

// Rehearsed is what came of it.
type Rehearsed struct {
	Jobs       map[string]*status.ReportJob
	Findings   []status.Finding
	Series     int
	Collisions []status.ReportCollision
	Spoofed    []status.ReportSpoofed
}

// Rehearse scrapes each target once by cfg, with the library's own manager as
// always, and counts what would be logged. It ends soon after ctx does. The
// rules of metric_relabel_configs and the limits that come after them are applied
// here and not by the library, so that each rule's part can be told.
func Rehearse(ctx context.Context, cfg *config.Config, opts Options, r Rehearsal) (Rehearsed, error) {
	if err := CheckClients(cfg); err != nil {
		return Rehearsed{}, err
	}
	s := &Scraper{bodySizeLimit: opts.BodySizeLimit, labelLimit: opts.LabelLimit}
	stage := newRehearsalStage(ctx, cfg, r)
	groups := Groups{}
	plain := *cfg.Prometheus
	plain.ScrapeConfigs = nil
	socket := false
	for _, job := range s.effective(cfg).ScrapeConfigs {
		found, ok := r.Groups[job.JobName]
		if !ok {
			continue
		}
		j := stage.add(job)
		j.sort(found)
		socket = socket || j.socket
		plain.ScrapeConfigs = append(plain.ScrapeConfigs, undecorated(job))
		groups[job.JobName] = found
	}
	options := libraryOptions(&opts)
	options.ScrapeOnShutdown = true
	options.SynthesizeST = false // It keeps the first sample of a series back.
	options.InitialScrapeOffset = never
	options.DiscoveryReloadInterval = model.Duration(rehearsalTick)
	options.HTTPClientOptions = []promcfg.HTTPClientOption{promcfg.WithKeepAlivesDisabled()}
	if !socket {
		options.HTTPClientOptions = append(options.HTTPClientOptions, promcfg.WithDialContextFunc((&leash{ctx: ctx}).dial))
	}
	manager, err := scrape.NewManager(options, slog.New(slog.DiscardHandler), nil, nil, stage, prometheus.NewRegistry())
	if err != nil {
		return Rehearsed{}, fmt.Errorf("make scrape manager for a rehearsal: %w", err)
	}
	if err := manager.ApplyConfig(&plain); err != nil {
		return Rehearsed{}, fmt.Errorf("apply scrape_configs to a rehearsal: %w", err)
	}
	stage.perform(manager, groups)
	return stage.report(), nil
}

// undecorated is a copy of a job without what comes after the labels of its
// target are on a sample, and with a report of how large an answer is.
func undecorated(job *promconfig.ScrapeConfig) *promconfig.ScrapeConfig {
	plain := *job
	plain.MetricRelabelConfigs = nil
	plain.SampleLimit, plain.LabelLimit, plain.LabelNameLengthLimit, plain.LabelValueLengthLimit = 0, 0, 0, 0
	plain.MetricNameValidationScheme = model.UTF8Validation
	plain.ExtraScrapeMetrics = new(bool)
	*plain.ExtraScrapeMetrics = true
	plain.ScrapeFailureLogFile = ""
	plain.KeepDroppedTargets = 1
	return &plain
}

// perform lets the library take up the targets, and lose them again, on which it
// scrapes each once; then waits for the end of that.
func (st *rehearsalStage) perform(manager *scrape.Manager, groups Groups) {
	updates := make(chan Groups)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = manager.Run(updates) // It has no errors.
	}()
	none := Groups{}
	for job := range groups {
		none[job] = []*targetgroup.Group{}
	}
	// The library takes its targets up and away while it holds a lock that Stop
	// needs too: when the first is seen to be there or gone, Stop waits for all.
	updates <- groups
	st.until(func() bool {
		active := manager.TargetsActive()
		for name, j := range st.jobs {
			if j.report.Targets.Kept > 0 && len(active[name]) == 0 {
				return false
			}
		}
		return true
	})
	updates <- none
	st.until(func() bool {
		for _, targets := range manager.TargetsActive() {
			if len(targets) > 0 {
				return false
			}
		}
		return true
	})
	manager.Stop()
	close(updates)
	<-ended
}

// until waits for what the library does soon, or not at all.
func (*rehearsalStage) until(done func() bool) {
	tick := time.NewTicker(rehearsalTick)
	defer tick.Stop()
	for end := time.Now().Add(rehearsalPatience); !done() && time.Now().Before(end); {
		<-tick.C
	}
}

// leash is a dialer whose connections all end with ctx: the library has no way to
// break off a scrape.
type leash struct {
	ctx    context.Context
	dialer net.Dialer
}

func (l *leash) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(l.ctx.Err()) })() //nolint:contextcheck // It is of all connections.
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	slip := context.AfterFunc(l.ctx, func() { _ = conn.Close() }) //nolint:contextcheck // As above.
	return &leashed{Conn: conn, slip: slip}, nil
}

// leashed is one connection.
type leashed struct {
	net.Conn

	slip func() bool
}

// Close implements io.Closer.
func (c *leashed) Close() error {
	c.slip()
	return c.Conn.Close()
}

var _ io.Closer = (*leashed)(nil)
