// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"torchbearer/config"
)

// lastGoodInterval is how often the file is looked at while the agent runs on
// the last good config, if that is more often than the reload interval.
const lastGoodInterval = 5 * time.Second

// watch reloads whenever the files differ from those tried last, or were found
// bad, until ctx is done: what made them bad, a variable, a missing file, may
// have been mended elsewhere. Reading them whole is what sees every way in
// which they change: a write, a rename, a swapped symlink of a ConfigMap.
func (a *Agent) watch(ctx context.Context) {
	for {
		interval := a.opts.ReloadInterval
		if a.onLastGood() && (interval == 0 || interval > lastGoodInterval) {
			interval = lastGoodInterval
		}
		var tick <-chan time.Time
		if interval > 0 {
			tick = time.After(interval)
		}
		select {
		case <-tick:
			a.look()
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) look() {
	select {
	case a.reloading <- struct{}{}:
		defer func() { <-a.reloading }()
	default:
		return // A reload is under way.
	}
	src, err := config.ReadSource(a.opts.ConfigFile)
	a.mu.Lock()
	var bad *BadConfigError
	same := hashOf(src) == a.attempted && (a.trouble == nil || !errors.As(a.trouble, &bad) && !a.lastGood)
	a.mu.Unlock()
	if !same {
		_ = a.reload(src, err) // Logged and kept by refused.
	}
}

func (a *Agent) onLastGood() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lastGood
}

func hashOf(src *config.Source) string {
	if src == nil {
		return ""
	}
	return src.Hash()
}
