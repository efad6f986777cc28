// SPDX-License-Identifier: Apache-2.0

// Package shipper owns what leaves: it reads the log on disk and sends it to
// every remote_write destination of the config, by Prometheus's own
// storage/remote.
//
// It promises that every series that leaves carries the mandatory labels with
// the agent's values, whatever write_relabel_configs say, that a commit never
// waits for it, and that Close ends within its deadline. It never writes to
// the log and never changes the config it is given.
package shipper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"go.yaml.in/yaml/v2"

	"torchbearer/config"
)

// After a wake the readers of the log are woken again, in pauses that grow from
// wakeAgain to wakeEnough: one that was not waiting just then has missed it, and
// would look by itself only after 15 s.
const (
	wakeAgain  = 50 * time.Millisecond
	wakeEnough = 5 * time.Second
)

// Options say what the shipper works with. The fields above Metadata
// must be set.
type Options struct {
	Dir           string // data directory: the log lies in its folder wal
	Logger        log.Logger
	Library       *slog.Logger // for storage/remote
	Registry      prometheus.Registerer
	FlushDeadline time.Duration // for each destination that goes away, and for Close
	// Metadata is where Remote Write 1.0 takes the metadata of metrics from;
	// nil sends none. Remote Write 2.0 takes it from the log.
	Metadata          remote.ReadyScrapeManager
	TypeAndUnitLabels bool
}

// Shipper sends to all destinations. Its methods may be called concurrently,
// but for Apply and Close, which are for one goroutine.
type Shipper struct {
	logger        log.Logger
	storage       *remote.Storage
	flushDeadline time.Duration
	metrics       *prometheus.Registry // of storage/remote, to see how far it has read
	in            *inMetrics

	wake    chan struct{} // holds one: the log has grown
	stop    chan struct{}
	stopped sync.WaitGroup
}

// New returns a shipper without destinations. It must be closed.
func New(opts Options) *Shipper {
	s := &Shipper{
		logger:        opts.Logger,
		flushDeadline: opts.FlushDeadline,
		metrics:       prometheus.NewRegistry(),
		in:            newInMetrics(opts.Registry),
		wake:          make(chan struct{}, 1),
		stop:          make(chan struct{}),
	}
	opts.Registry.MustRegister(s.metrics)
	s.storage = remote.NewStorage(opts.Library, s.metrics, func() (int64, error) { return 0, nil },
		opts.Dir, opts.FlushDeadline, opts.Metadata, opts.TypeAndUnitLabels)
	s.stopped.Go(s.notify)
	return s
}

// Committed tells what was committed to the log, newest being the highest
// timestamp in it in milliseconds. It never blocks.
func (s *Shipper) Committed(samples, histograms, exemplars int, newest int64) {
	s.in.samples.Add(float64(samples))
	s.in.histograms.Add(float64(histograms))
	s.in.exemplars.Add(float64(exemplars))
	// storage/remote plans its shards by the rate of what comes in, which it
	// learns from an appender beside the log's.
	rate := s.storage.AppenderV2(context.Background())
	for range samples + histograms + exemplars {
		_, _ = rate.Append(0, labels.EmptyLabels(), 0, newest, 0, nil, nil, storage.AOptions{}) // Only counts.
	}
	_ = rate.Commit() // Only adds the count up.
	s.wakeReaders()
}

// Storage is the library's, for the log to ask how far was sent.
func (s *Shipper) Storage() *remote.Storage { return s.storage }

func (s *Shipper) wakeReaders() {
	select {
	case s.wake <- struct{}{}:
	default: // They are about to be woken.
	}
}

// notify wakes the readers of the log. It is a goroutine of its own since
// Storage.Notify waits for the lock that ApplyConfig holds for as long as an
// old destination takes to flush, and a scrape must not wait with it.
func (s *Shipper) notify() {
	pause := wakeAgain
	again := time.NewTimer(pause)
	defer again.Stop()
	for {
		select {
		case <-s.wake:
			pause = wakeAgain
			again.Reset(pause)
		case <-again.C:
			if pause *= 2; pause < wakeEnough {
				again.Reset(pause)
			}
		case <-s.stop:
			return
		}
		s.storage.Notify()
	}
}

// Apply sends to the destinations of cfg from now on. A destination whose
// settings and labels did not change goes on undisturbed; one that changed is
// flushed for at most the flush deadline and starts again. On an error nothing
// has changed.
func (s *Shipper) Apply(cfg *config.Config) error {
	effective := withMandatoryLabels(cfg)
	if err := checkDestinations(effective.RemoteWriteConfigs); err != nil {
		return err
	}
	if err := s.storage.ApplyConfig(effective); err != nil {
		return fmt.Errorf("apply remote_write: %w", err)
	}
	return nil
}

// Check finds out whether Apply would work, and changes nothing.
func (s *Shipper) Check(cfg *config.Config) error {
	return checkDestinations(withMandatoryLabels(cfg).RemoteWriteConfigs)
}

// checkDestinations makes every client once, for trial: ApplyConfig of the
// library forgets running queues when it fails half way.
func checkDestinations(destinations []*promconfig.RemoteWriteConfig) error {
	seen := make(map[string]bool)
	for _, rw := range destinations {
		// The library tells destinations apart by this text.
		text, err := yaml.Marshal(rw)
		if err != nil {
			return fmt.Errorf("encode remote_write %s: %w", rw.URL.Redacted(), err)
		}
		if seen[string(text)] {
			return fmt.Errorf("remote_write %s stands there twice; remove one, or give each a name", rw.URL.Redacted())
		}
		seen[string(text)] = true
		_, err = remote.NewWriteClient("check", &remote.ClientConfig{
			URL:              rw.URL,
			WriteProtoMsg:    rw.ProtobufMessage,
			Timeout:          rw.RemoteTimeout,
			HTTPClientConfig: rw.HTTPClientConfig,
			SigV4Config:      rw.SigV4Config,
			AzureADConfig:    rw.AzureADConfig,
			GoogleIAMConfig:  rw.GoogleIAMConfig,
			Headers:          rw.Headers,
		})
		if err != nil {
			return fmt.Errorf("make a client for remote_write %s: %w", rw.URL.Redacted(), err)
		}
	}
	return nil
}

// ErrDeadline is what Close returns when not everything could be sent in time.
var ErrDeadline = errors.New("flush to remote_write: the deadline is over")

// Close sends what the log still holds, for at most the flush deadline or until
// ctx is done, and stops. Nobody may write to the log any more.
func (s *Shipper) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.flushDeadline)
	defer cancel()
	s.drain(ctx)
	closed := make(chan error, 1)
	go func() {
		close(s.stop)
		s.stopped.Wait()
		closed <- s.storage.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
	}
	// The library gives up by itself a little after the flush deadline. What it
	// then still does is cut off by the end of the process.
	select {
	case err := <-closed:
		return err
	case <-time.After(closeGrace):
		pending := sum(s.metrics, samplesPending, histogramsPending)
		level.Error(s.logger).Log("msg", "the flush deadline is over; samples that were not sent are lost",
			"flush_deadline", s.flushDeadline, "samples_pending", pending)
		return ErrDeadline
	}
}
