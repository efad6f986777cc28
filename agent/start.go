// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-kit/log/level"

	"torchbearer/config"
)

// loadFirst reads the config to start with: the file, or if that is bad the
// last good one.
func (a *Agent) loadFirst() error {
	src, err := config.ReadSource(a.opts.ConfigFile)
	a.attempted = hashOf(src)
	if err == nil {
		a.running, err = config.Parse(src, a.opts.Config)
	}
	if err == nil {
		a.first = src
		return nil
	}
	kept, storeErr := a.store.load()
	if errors.Is(storeErr, os.ErrNotExist) {
		logConfigError(a.logger, "config refused, and there is no last good one to run on", err)
		return &BadConfigError{err}
	}
	if storeErr == nil {
		// Password files and the like may come later; only what a client cannot
		// be made without, a CA say, stops the start.
		opts := a.opts.Config
		opts.SkipFileReferences = true
		a.running, storeErr = config.Parse(kept, opts)
	}
	if storeErr != nil {
		logConfigError(a.logger, "config refused", err)
		logConfigError(a.logger, "the last good config cannot be used either; remove "+a.store.path()+" if it is damaged", storeErr)
		return &BadConfigError{errors.Join(err, fmt.Errorf("the last good config cannot be used either: %w", storeErr))}
	}
	a.first, a.trouble, a.lastGood = kept, err, true
	logConfigError(a.logger, "THE CONFIG FILE IS BAD; running on the last good config until it is mended", err)
	return nil
}

// applyFirst applies what loadFirst read. There is nothing to go back to.
func (a *Agent) applyFirst() error {
	a.reloading <- struct{}{}
	defer func() { <-a.reloading }()
	cfg := a.running
	if err := a.apply(cfg, nil); err != nil {
		a.metrics.refused()
		return err
	}
	defer close(a.begun)
	if !a.onLastGood() {
		a.accepted(a.first, cfg)
		return nil
	}
	a.mu.Lock()
	a.applied, a.hash = time.Now(), a.first.Hash()
	a.mu.Unlock()
	a.metrics.running(a.first.Hash())
	a.metrics.lastGoodInUse.Set(1)
	return nil
}

// unloadAt is when what only the start needed is given back, from the start on: what
// the program's own initialization needed, before there is much else, and what the
// first scrapes and requests did.
func unloadAt() []time.Duration { return []time.Duration{2 * time.Second, 15 * time.Second} }

// work keeps the process small while all works, until ctx is done.
func (a *Agent) work(ctx context.Context) {
	started := time.Now()
	for _, at := range unloadAt() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(started.Add(at))):
		}
		if err := unload(); err != nil {
			level.Debug(a.logger).Log("msg", "the process stays larger than it need be", "err", err)
		}
	}
	a.collector.run(ctx)
}
