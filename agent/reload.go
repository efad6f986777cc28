// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"torchbearer/config"
)

// stage is what a config is applied to.
type stage struct {
	name  string
	check func(*config.Config) error // whether apply would work; nil: it always does
	apply func(*config.Config) error
}

// BadConfigError says that the config is to blame: its files, not the state of
// the agent. It unwraps to the config.Violations.
type BadConfigError struct{ Err error }

// Error implements error.
func (e *BadConfigError) Error() string { return e.Err.Error() }

// Unwrap gives the violations.
func (e *BadConfigError) Unwrap() error { return e.Err }

// BadConfig is true.
func (e *BadConfigError) BadConfig() bool { return true }

var errStopping = errors.New("the agent is stopping")

// Reload reads the config file again and applies it, or changes nothing. A bad
// config is a BadConfigError. One reload runs at a time, and none before the
// first config is applied; ctx ends the waiting, not the reload.
func (a *Agent) Reload(ctx context.Context) error {
	select {
	case <-a.begun:
	case <-a.stopping:
		return errStopping
	case <-ctx.Done():
		return fmt.Errorf("wait for the log to be opened: %w", ctx.Err())
	}
	select {
	case a.reloading <- struct{}{}:
		defer func() { <-a.reloading }()
	case <-a.stopping:
		return errStopping
	case <-ctx.Done():
		return fmt.Errorf("wait for the reload under way: %w", ctx.Err())
	}
	src, err := config.ReadSource(a.opts.ConfigFile)
	return a.reload(src, err)
}

// endReloads waits for the reload under way, at most until ctx is done, and
// refuses all that come. It says whether none is under way any more.
func (a *Agent) endReloads(ctx context.Context) bool {
	close(a.stopping)
	select {
	case a.reloading <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// reload applies what was read, while the caller holds reloading.
func (a *Agent) reload(src *config.Source, readErr error) error {
	a.mu.Lock()
	former := a.running
	a.attempted = hashOf(src)
	a.mu.Unlock()

	if readErr != nil {
		return a.refused(&BadConfigError{readErr})
	}
	cfg, err := config.Parse(src, a.opts.Config)
	if err != nil {
		return a.refused(&BadConfigError{err})
	}
	if err := a.apply(cfg, former); err != nil {
		return a.refused(err)
	}
	a.accepted(src, cfg)
	return nil
}

// apply asks every stage whether it can take cfg, then gives it to each in turn.
// When one refuses it all the same, the former config is given again to it and
// to those before it.
func (a *Agent) apply(cfg, former *config.Config) error {
	for _, s := range a.stages {
		if s.check == nil {
			continue
		}
		if err := s.check(cfg); err != nil {
			return fmt.Errorf("apply config to %s: %w", s.name, err)
		}
	}
	for i, s := range a.stages {
		err := s.apply(cfg)
		if err == nil {
			continue
		}
		err = fmt.Errorf("apply config to %s: %w", s.name, err)
		for back := i; back >= 0 && former != nil; back-- {
			if backErr := a.stages[back].apply(former); backErr != nil {
				err = errors.Join(err, fmt.Errorf("set %s back: %w", a.stages[back].name, backErr))
			}
		}
		return err
	}
	return nil
}

// applyLogLevel sets the level that the config says.
func (a *Agent) applyLogLevel(cfg *config.Config) error {
	if a.opts.SetLogLevel != nil {
		a.opts.SetLogLevel(string(cfg.Prometheus.Runtime.LogLevel))
	}
	return nil
}

func (a *Agent) accepted(src *config.Source, cfg *config.Config) {
	a.mu.Lock()
	fresh := a.applied.IsZero() || a.running.Hash() != cfg.Hash()
	a.running, a.text, a.hash = cfg, sync.OnceValue(cfg.String), src.Hash()
	a.trouble, a.lastGood = nil, false
	if a.applied.IsZero() {
		a.applied = time.Now()
	}
	a.mu.Unlock()

	a.metrics.accepted(src.Hash())
	a.metrics.lastGoodInUse.Set(0)
	if fresh {
		for _, hint := range cfg.Hints {
			level.Warn(a.logger).Log("msg", "hint about the config", "hint", hint)
		}
	}
	level.Info(a.logger).Log("msg", "config applied", "file", a.opts.ConfigFile, "hash", cfg.Hash())
	if err := a.store.save(src); err != nil {
		level.Warn(a.logger).Log("msg", "the config could not be kept; a restart with a broken file would have none to run on", "err", err)
	}
}

// refused notes why, and returns it. The same trouble is logged once.
func (a *Agent) refused(err error) error {
	a.mu.Lock()
	known := a.trouble != nil && a.trouble.Error() == err.Error()
	a.trouble = err
	a.mu.Unlock()

	a.metrics.refused()
	if !known {
		logConfigError(a.logger, "config refused; continuing with the previous config", err)
	}
	return err
}

// logConfigError gives each violation a line of its own.
func logConfigError(logger log.Logger, msg string, err error) {
	var violations config.Violations
	if !errors.As(err, &violations) {
		level.Error(logger).Log("msg", msg, "err", err)
		return
	}
	for i, v := range violations {
		level.Error(logger).Log("msg", msg, "violation", v, "nth", fmt.Sprintf("%d/%d", i+1, len(violations)))
	}
}
