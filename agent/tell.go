// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"time"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

// Ready is nil when targets are being scraped into an open log, else the reason.
func (a *Agent) Ready() error {
	select {
	case <-a.stopping:
		return errStopping
	default:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.synced:
		return nil
	case a.applied.IsZero():
		return errors.New("the log is being read, the config is not applied yet")
	}
	if err := a.scraper.Ready(); err != nil {
		return err
	}
	if err := a.targets.Ready(); err != nil && time.Since(a.applied) < syncGrace {
		return err
	}
	a.synced = true
	return nil
}

// Notice is what people should know of an agent that is ready all the same:
// that it does not run on its config file. "" is nothing.
func (a *Agent) Notice() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.lastGood:
		return fmt.Sprintf("Running on the last good config; %s is bad:\n%v", a.opts.ConfigFile, a.trouble)
	case a.trouble != nil:
		return fmt.Sprintf("The last reload was refused; running on the config before it:\n%v", a.trouble)
	}
	return ""
}

// Config is the running config as YAML, secrets hidden.
func (a *Agent) Config() string {
	a.mu.Lock()
	text := a.text
	a.mu.Unlock()
	return text() // Takes long when the config is large.
}

// Scopes tells which jobs are scraped here, and who scrapes the others.
func (a *Agent) Scopes() status.Scopes { return a.targets.Status() }

// Destinations tells what became of what was to be sent.
func (a *Agent) Destinations() []status.Destination { return a.shipper.Status() }

// RuleCounts tells what each rule of write_relabel_configs has dropped.
func (a *Agent) RuleCounts() []status.RuleCount { return a.shipper.RuleCounts() }

// Scrapes is the library's manager, which knows all targets.
func (a *Agent) Scrapes() *scrape.Manager { return a.scraper.Manager() }
