// SPDX-License-Identifier: Apache-2.0

// Package shipper owns what leaves: for every remote_write destination it reads
// the log on disk, window after window, and sends it.
//
// It promises that what the log holds is sent in the order it was scraped, to
// each destination by itself, until the receiver has stored or refused it for
// good; that a journal tells the process after a crash exactly what may have
// been sent; that a commit never waits for it; that every series that leaves
// carries the mandatory labels; and that Close ends in time. Samples that are in
// the log when a config is applied and have not been sent leave by the new
// config: its labels, its rules, its URL. It never writes to the log, and never
// gives a sample up but for a verdict of the receiver that names it, its age
// limit, or the disk budget, each of which it counts.
package shipper

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"

	"torchbearer/agent/logged"
	"torchbearer/config"
)

// Options say what the shipper works with. All but TypeAndUnitLabels must be set.
type Options struct {
	Dir           string // of the data; the journals lie in its folder ship
	Logger        log.Logger
	Registry      prometheus.Registerer
	Log           Log           // open when Apply is called first
	FlushDeadline time.Duration // of Close
	// Retention is how long a destination that is in the config no more is
	// remembered: when it comes back it goes on where it was.
	Retention         time.Duration
	TypeAndUnitLabels bool
}

// Shipper sends to all destinations. Its methods may be called concurrently.
type Shipper struct {
	opts    Options
	metrics *metrics
	running atomic.Pointer[[]*destination]
	intake  intake

	mu       sync.Mutex // guards the fields below
	begun    bool
	configs  []applied // of running, in the same order
	dormant  []*dormant
	versions uint16
	closed   bool
}

// applied is by what a destination was made.
type applied struct {
	config   promconfig.RemoteWriteConfig
	settings *settings
}

// New returns a shipper without destinations.
func New(opts Options) *Shipper {
	s := &Shipper{opts: opts, metrics: newMetrics(opts.Registry)}
	s.running.Store(&[]*destination{})
	return s
}

// Committing tells that a commit of so many samples and histograms begins. One
// of Committed and Lost tells how it ended. None of them blocks.
func (s *Shipper) Committing(points int) { s.intake.begin(points) }

// Lost tells that a commit could not be written to the log, and why.
func (s *Shipper) Lost(points int, reason string) { s.intake.lose(points, reason) }

// Committed tells what was committed to the log, newest being the highest
// timestamp in it in milliseconds.
func (s *Shipper) Committed(samples, histograms, exemplars int, newest int64) {
	s.metrics.in(samples, histograms, exemplars, newest)
	s.intake.end()
	for _, d := range *s.running.Load() {
		d.wakeUp(samples + histograms)
	}
}

// Check finds out whether Apply would work, and changes nothing.
func (s *Shipper) Check(cfg *config.Config) error {
	_, err := s.settings(cfg)
	return err
}

func (s *Shipper) settings(cfg *config.Config) ([]*settings, error) {
	var all []*settings
	for _, rw := range cfg.Prometheus.RemoteWriteConfigs {
		set, err := newSettings(cfg, rw, s.opts.TypeAndUnitLabels)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o *settings) bool { return o.identity == set.identity }) {
			return nil, fmt.Errorf("remote_write %s stands there twice; remove one, or give each a name", config.HideSecrets(rw.URL.Redacted()))
		}
		all = append(all, set)
	}
	return all, nil
}

// Apply sends to the destinations of cfg from now on. One that was there goes
// on where it was, whatever of it changed; a new one begins with what is logged
// from now on. On an error nothing has changed. Apply does not wait for
// receivers.
func (s *Shipper) Apply(cfg *config.Config) error {
	wanted, err := s.settings(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("apply remote_write: the shipper is closed")
	}
	begin := state{Sent: s.opts.Log.End()}
	if !s.begun {
		begin.Sent = s.opts.Log.Begin()
	}
	// Nothing goes until all have their own claims.
	all := s.opts.Log.Claim(begin.Sent, func(logged.Position, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
	})
	if !s.begun {
		if err := s.openJournals(); err != nil {
			return err // The claim stays: nothing may go that nobody else can claim.
		}
	}
	defer all.Drop()
	former := *s.running.Load()
	found := match(identities(wanted), s.known(former))
	configs := make([]applied, len(wanted))
	running := make([]*destination, len(wanted))
	kept := map[int]bool{}
	for i, set := range wanted {
		configs[i] = applied{*cfg.Prometheus.RemoteWriteConfigs[i], set}
		if at := found[i]; at != none && at < len(former) {
			kept[at] = true
			running[i] = former[at]
			s.change(former[at], &s.configs[at], &configs[i])
		}
	}
	heir := s.heir(wanted, found, former, kept)
	for at, d := range former {
		if kept[at] {
			continue
		}
		s.retire(d)
		if heir {
			begin = d.state
		}
	}
	for i, set := range wanted {
		if running[i] != nil {
			continue
		}
		var was *dormant
		if found[i] != none {
			was = s.dormant[found[i]-len(former)]
		}
		running[i] = s.newDestination(set, was, begin)
	}
	s.dormant = slices.DeleteFunc(s.dormant, func(d *dormant) bool { return d.revived })
	s.configs, s.begun = configs, true
	s.running.Store(&running)
	return nil
}

func identities(all []*settings) []identity {
	ids := make([]identity, len(all))
	for i, set := range all {
		ids[i] = set.identity
	}
	return ids
}

// known are the destinations that a wanted one may be: those that run, then
// those that did.
func (s *Shipper) known(former []*destination) []identity {
	var ids []identity
	for _, d := range former {
		ids = append(ids, d.set.Load().identity)
	}
	for _, d := range s.dormant {
		ids = append(ids, d.state.identity)
	}
	return ids
}

// heir says whether all that a reload does is to give the only unnamed
// destination another URL. Then the new one goes on where the old one was. Else
// one that nobody knows begins at a start with all that is held, since its
// journal may be what was lost, and at a reload with what comes.
func (s *Shipper) heir(wanted []*settings, found []int, former []*destination, kept map[int]bool) bool {
	var left []*destination
	for at, d := range former {
		if !kept[at] {
			left = append(left, d)
		}
	}
	var fresh []*settings
	for i, set := range wanted {
		if found[i] == none {
			fresh = append(fresh, set)
		}
	}
	return len(left) == 1 && len(fresh) == 1 && left[0].set.Load().Name == "" && fresh[0].Name == ""
}

// change gives a running destination what the config says of it now.
func (s *Shipper) change(d *destination, from, to *applied) {
	if reflect.DeepEqual(from.config, to.config) && from.settings.sameSeries(to.settings) {
		to.settings.client.close()
		to.settings = from.settings
		return
	}
	to.settings.version = from.settings.version
	if !from.settings.sameSeries(to.settings) {
		to.settings.version = s.nextVersion()
	}
	d.apply(to.settings)
}

// nextVersion is not 0. When all had their turn it begins again: a series that had
// no point since so many changes is hardly known any more.
func (s *Shipper) nextVersion() uint16 {
	if s.versions++; s.versions == 0 {
		s.versions++
	}
	return s.versions
}

// ErrDeadline is what Close returns when not everything could be sent in time.
// What is left stays in the log, and is sent by the next process.
var ErrDeadline = errors.New("flush to remote_write: the deadline is over")

// Close sends what the log still holds, for at most the flush deadline or until
// ctx is done, and stops. Nobody may write to the log any more.
func (s *Shipper) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(ctx, s.opts.FlushDeadline)
	defer cancel()
	running := *s.running.Load()
	for _, d := range running {
		close(d.closing)
	}
	var late error
	for _, d := range running {
		select {
		case <-d.done:
		case <-ctx.Done():
			late = ErrDeadline
			level.Warn(d.logger).Log("msg", "the flush deadline is over; what was not sent stays in the log and is sent after the next start",
				"flush_deadline", s.opts.FlushDeadline, "samples_pending", d.ledger.pending())
		}
		d.stop()
	}
	for _, d := range running {
		<-d.done
		d.close()
	}
	for _, d := range s.dormant {
		d.close()
	}
	return late
}

func (s *Shipper) dir() string { return filepath.Join(s.opts.Dir, "ship") }
