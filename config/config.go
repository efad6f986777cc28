// SPDX-License-Identifier: Apache-2.0

// Package config reads Torchbearer's config file: a Prometheus agent config with one more, optional section, `agent:`.
//
// It promises to report everything that is wrong with the files at once, each with file, line and remedy, and never to
// show a secret in a message or in the text of a running config. A Config is never modified after Parse. The package
// never starts anything, never listens, and knows no other package of Torchbearer.
package config

import (
	promconfig "github.com/prometheus/prometheus/config"
	// Linking a discovery is what makes its section known to Prometheus's parser.
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	_ "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/model/labels"
)

// Options decide how a config is read; they come from flags.
type Options struct {
	RequiredLabels            []string // the file's agent.required_labels replaces it
	IgnoreServerSections      bool     // sections that only a Prometheus server knows are hints, not violations
	DefaultProtoFirst         bool     // global.scrape_protocols, when absent, begins with protobuf
	DefaultExtraScrapeMetrics bool     // global.extra_scrape_metrics is true when absent
	DefaultLogLevel           string   // runtime.log_level when absent; empty means info
	SkipFileReferences        bool     // certificates, passwords and the like need not be there
}

// Config is a config that was accepted. It is read only, so any number of goroutines may use it.
type Config struct {
	// Prometheus is the config in effect: the jobs of scrape_config_files are merged into ScrapeConfigs, variables
	// are expanded, paths are absolute. It holds secrets: show String of Config, not of this.
	Prometheus *promconfig.Config
	Agent      Agent
	Hints      Violations // never a reason to refuse the config
	// GoGCByDefault says that neither the files nor the environment say what GOGC is; Prometheus.Runtime has the default.
	GoGCByDefault bool

	hash string
}

// Agent is the `agent:` section with its defaults.
type Agent struct {
	RequiredLabels   []string         `yaml:"required_labels"`    // names of the mandatory external labels
	TrustedLabelJobs []string         `yaml:"trusted_label_jobs"` // jobs whose targets may set the mandatory labels
	Scopes           map[string]Scope `yaml:"scopes"`             // by job name; Config.Scope knows those of the others
	Limits           Limits           `yaml:"limits"`
}

// Limits bound what one agent costs.
type Limits struct {
	MaxSeries       int            `yaml:"max_series"`         // of the whole agent; 0 means no limit
	MaxSeriesPerJob int            `yaml:"max_series_per_job"` // of each job that JobMaxSeries does not name; 0 means no limit
	JobMaxSeries    map[string]int `yaml:"job_max_series"`     // by job name; 0 means no limit for it
}

// MaxSeriesOf is how many series a job may have, 0 for no limit of its own.
func (l Limits) MaxSeriesOf(job string) int {
	if n, ok := l.JobMaxSeries[job]; ok {
		return n
	}
	return l.MaxSeriesPerJob
}

// Load reads the config file at path and the files it names. Whatever is wrong with them is returned as Violations.
func Load(path string, opts Options) (*Config, error) {
	src, err := ReadSource(path)
	if err != nil {
		return nil, err
	}
	return Parse(src, opts)
}

// Hash identifies what runs: two configs with the same hash behave alike. It changes with the files, with the values
// of the variables in them, and with the options.
func (c *Config) Hash() string { return c.hash }

// MandatoryLabels are the required labels with this agent's values, sorted by name.
func (c *Config) MandatoryLabels() []labels.Label {
	mandatory := make([]labels.Label, 0, len(c.Agent.RequiredLabels))
	for _, name := range c.Agent.RequiredLabels {
		mandatory = append(mandatory, labels.Label{Name: name, Value: c.Prometheus.GlobalConfig.ExternalLabels.Get(name)})
	}
	sortLabels(mandatory)
	return mandatory
}
