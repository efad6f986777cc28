// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// About tells who the agent is.
func (a *Agent) About() status.About {
	cfg := a.runs()
	hash, _, _ := a.configState()
	host, _ := os.Hostname() // "" says that it is not known.
	about := status.About{
		Node:       a.node(),
		Host:       host,
		Labels:     externalLabels(cfg),
		Version:    version.Version,
		Revision:   version.GetRevision(),
		ConfigFile: a.opts.ConfigFile,
		ConfigHash: hash,
		Started:    a.disk.began,
		Notice:     a.Notice(),
	}
	if err := a.Ready(); err != nil {
		about.NotReady = err.Error()
	}
	return about
}

// Samples is what the last scrape of a target brought, if there was one.
func (a *Agent) Samples(t *scrape.Target) (n status.Samples, ok bool) { return a.scraper.Samples(t) }

// externalLabels are the mandatory ones, then the others.
func externalLabels(cfg *config.Config) []status.Label {
	mandatory := cfg.Agent.RequiredLabels
	list := []status.Label{}
	cfg.Prometheus.GlobalConfig.ExternalLabels.Range(func(l labels.Label) {
		list = append(list, status.Label{Name: l.Name, Value: l.Value, Mandatory: slices.Contains(mandatory, l.Name)})
	})
	slices.SortStableFunc(list, func(x, y status.Label) int {
		switch {
		case x.Mandatory == y.Mandatory:
			return 0
		case x.Mandatory:
			return -1
		default:
			return 1
		}
	})
	return list
}

// diskPause is for how long what was read of the config files is shown again.
const diskPause = 3 * time.Second

// onDisk is the config as the files have it, as it was read last.
type onDisk struct {
	began time.Time // of the agent

	mu   sync.Mutex // guards the fields below
	read time.Time
	hash string // of the source that text is of
	text string
}

// ConfigOnDisk is the config as its files have it now, secrets hidden, and
// whether the files are those of what runs, also in what is not shown. Files that would be refused are not shown, for what
// is secret in them is not known then: the reasons are, as comments.
func (a *Agent) ConfigOnDisk() (text string, same bool) {
	a.disk.mu.Lock()
	defer a.disk.mu.Unlock()
	if time.Since(a.disk.read) >= diskPause {
		a.readDisk()
		a.disk.read = time.Now()
	}
	running, _, _ := a.configState()
	return a.disk.text, a.disk.hash == running && a.disk.text == a.Config()
}

// readDisk reads the files, and parses them if they are others than before or
// were refused: what made them bad may have been mended elsewhere.
func (a *Agent) readDisk() {
	src, err := config.ReadSource(a.opts.ConfigFile)
	hash := hashOf(src)
	if err == nil && hash == a.disk.hash {
		return
	}
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Parse(src, a.opts.Config)
	}
	if err != nil {
		a.disk.hash, a.disk.text = "", "# The config on disk is refused:\n# "+strings.ReplaceAll(err.Error(), "\n", "\n# ")+"\n"
		return
	}
	a.disk.hash, a.disk.text = hash, cfg.String()
}
