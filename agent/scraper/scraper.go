// SPDX-License-Identifier: Apache-2.0

// Package scraper owns scraping: which samples targets say, when, and under
// which labels they go into the log. The work is done by Prometheus's
// scrape.Manager, of which agent/upstream has a copy with two changes.
//
// It promises that no series reaches the log with a mandatory label of its own
// (it is kept as exported_<name>), except from a trusted job, and that Close
// ends in time even when a target hangs. It never discovers targets, never
// sends anything, and never changes the config it is given.
package scraper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"

	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// Groups are the target groups of every job, by job name.
type Groups = map[string][]*targetgroup.Group

// Options say how to scrape. Library, Registry and Sink must be set.
type Options struct {
	Library  *slog.Logger // for scrape
	Registry prometheus.Registerer
	Sink     storage.AppendableV2 // where samples go

	// Admit is asked before what was scraped of a job is written: ok is whether
	// the job is this agent's at present, and stays so until done is called. Nil
	// is that all jobs are.
	Admit func(job string) (done func(), ok bool)

	// Memory is what the process means to keep within, in bytes, 0 being no limit:
	// near it targets that answer much are not scraped all at once. It may be nil.
	Memory func() int64

	// Limits for jobs whose config has none; 0 is no limit.
	BodySizeLimit units.Base2Bytes // of an answer, uncompressed
	LabelLimit    uint             // labels of a sample

	DiscoveryReloadInterval time.Duration // 0 is 5 s

	ParseStartTimestamps      bool
	SynthesizeStartTimestamps bool
	TypeAndUnitLabels         bool
	OpenMetrics2              bool
	ZstdScrape                bool
}

// Scraper scrapes the targets of all jobs.
type Scraper struct {
	manager       *scrape.Manager
	guard         *guard
	bodySizeLimit units.Base2Bytes
	labelLimit    uint
	parsing       Options                // those of them that say how answers are read
	groups        atomic.Pointer[Groups] // taken last

	mu     sync.Mutex // guards the fields below
	jobs   int
	synced bool // targets came
}

// New returns a scraper that knows no job yet.
func New(opts Options) (*Scraper, error) {
	s := &Scraper{
		guard:         newGuard(opts.Sink, opts.Admit, opts.Registry),
		bodySizeLimit: opts.BodySizeLimit,
		labelLimit:    opts.LabelLimit,
		parsing:       opts,
	}
	s.guard.turns = newTurns(opts.Memory)
	var err error
	s.manager, err = scrape.NewManager(libraryOptions(&opts), s.guard.hush(opts.Library), logging.NewJSONFileLogger, nil, s.guard, opts.Registry)
	if err != nil {
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	return s, nil
}

// libraryOptions are those of the library.
func libraryOptions(opts *Options) *scrape.Options {
	return &scrape.Options{
		// The log needs metadata for Remote Write 2.0, and the guard needs
		// the target in the context to tell jobs apart.
		AppendMetadata:           true,
		PassMetadataInContext:    true,
		DiscoveryReloadOnStartup: true,
		DiscoveryReloadInterval:  model.Duration(opts.DiscoveryReloadInterval),
		ParseST:                  opts.ParseStartTimestamps,
		SynthesizeST:             opts.SynthesizeStartTimestamps,
		EnableTypeAndUnitLabels:  opts.TypeAndUnitLabels,
		EnableOpenMetrics2:       opts.OpenMetrics2,
		EnableZstdScrape:         opts.ZstdScrape,
	}
}

// Manager is the library's manager, for those who show targets.
func (s *Scraper) Manager() *scrape.Manager { return s.manager }

// Groups are what was discovered last, of all jobs. Nothing of it may be changed.
func (s *Scraper) Groups() Groups {
	if groups := s.groups.Load(); groups != nil {
		return *groups
	}
	return nil
}

// Apply scrapes by cfg from now on. A job whose config did not change goes on
// without a missed scrape. On an error some jobs may have changed: apply the
// former config to set them back.
func (s *Scraper) Apply(cfg *config.Config) error {
	if err := s.Check(cfg); err != nil {
		return err
	}
	// Rules before jobs: a scrape that begins from now on is under the new ones.
	s.guard.apply(cfg)
	if err := s.manager.ApplyConfig(s.effective(cfg)); err != nil {
		return fmt.Errorf("apply scrape_configs: %w", err)
	}
	s.mu.Lock()
	s.jobs = len(cfg.Prometheus.ScrapeConfigs)
	s.mu.Unlock()
	return nil
}

// Check finds out whether Apply would work, and changes nothing.
func (s *Scraper) Check(cfg *config.Config) error {
	if err := CheckClients(cfg); err != nil {
		return err
	}
	return checkFailureLogs(cfg.Prometheus.ScrapeConfigs)
}

// checkFailureLogs opens the files that failed scrapes are to be logged to.
func checkFailureLogs(jobs []*promconfig.ScrapeConfig) error {
	for _, job := range jobs {
		if job.ScrapeFailureLogFile == "" {
			continue
		}
		logger, err := logging.NewJSONFileLogger(job.ScrapeFailureLogFile)
		if err != nil {
			return fmt.Errorf("open scrape_failure_log_file of job %q: %w", job.JobName, err)
		}
		if err := logger.Close(); err != nil {
			return fmt.Errorf("close scrape_failure_log_file of job %q: %w", job.JobName, err)
		}
	}
	return nil
}

// CheckClients makes the HTTP client of every job once, for trial: the library
// leaves a job whose client it cannot make out with one log line.
func CheckClients(cfg *config.Config) error {
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		client, err := promcfg.NewClientFromConfig(job.HTTPClientConfig, job.JobName)
		if err != nil {
			return fmt.Errorf("make HTTP client of job %q: %w", job.JobName, err)
		}
		client.CloseIdleConnections()
	}
	return nil
}

// effective is a copy of the Prometheus config in which each job writes its
// name into a label of its targets that ends with them, and has limits.
func (s *Scraper) effective(cfg *config.Config) *promconfig.Config {
	effective := *cfg.Prometheus
	effective.ScrapeConfigs = make([]*promconfig.ScrapeConfig, 0, len(cfg.Prometheus.ScrapeConfigs))
	for _, job := range cfg.Prometheus.ScrapeConfigs {
		job := *job
		rules := make([]*relabel.Config, 0, len(job.RelabelConfigs)+1)
		job.RelabelConfigs = append(append(rules, job.RelabelConfigs...), markJob(job.JobName))
		if job.BodySizeLimit == 0 {
			job.BodySizeLimit = s.bodySizeLimit
		}
		if job.LabelLimit == 0 {
			job.LabelLimit = s.labelLimit
		}
		effective.ScrapeConfigs = append(effective.ScrapeConfigs, &job)
	}
	return &effective
}

// Run takes the updates of targets until the channel is closed or Close is
// called. What is scraped goes on being scraped until Close.
func (s *Scraper) Run(updates <-chan Groups) error {
	forward := make(chan Groups)
	done := make(chan error, 1)
	go func() { done <- s.manager.Run(forward) }()
	defer close(forward)
	for {
		select {
		case groups, ok := <-updates:
			if !ok {
				return nil
			}
			select {
			case forward <- groups:
				s.groups.Store(&groups)
				s.mu.Lock()
				s.synced = true
				s.mu.Unlock()
			case err := <-done:
				return err
			}
		case err := <-done:
			return err
		}
	}
}

// Ready is nil once the first targets were taken, or when there is no job to
// have any; else it is the reason.
func (s *Scraper) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.synced && s.jobs > 0 {
		return errNoTargets
	}
	return nil
}

// Close ends all scraping. Scrapes under way may finish until ctx is done;
// what ends later is not written, so that no target looks down because its
// agent stops, and Close reports it. No commit begins after Close.
func (s *Scraper) Close(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.manager.Stop()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		// The library has no way to end a scrape before its timeout. The
		// goroutine ends with it, or with the process.
		s.guard.shut()
		return errors.New("a target did not answer in time; its last scrape is not written")
	}
}
