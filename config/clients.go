// SPDX-License-Identifier: Apache-2.0

package config

import (
	promcfg "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
)

// clients makes the HTTP clients of cfg for trial, whose paths are absolute: a certificate that is none is found nowhere
// else.
func (c *checker) clients(cfg *promconfig.Config) {
	if c.opts.SkipFileReferences {
		return
	}
	jobs := map[string]*node{}
	for _, job := range c.jobs() {
		jobs[job.get("job_name").str()] = job
	}
	for _, job := range cfg.ScrapeConfigs {
		if at := jobs[job.JobName]; at != nil {
			c.client(at, &job.HTTPClientConfig)
		}
	}
	if list := c.main.root.get("remote_write"); list != nil && len(list.items) == len(cfg.RemoteWriteConfigs) {
		for i, rw := range cfg.RemoteWriteConfigs {
			c.client(list.items[i], &rw.HTTPClientConfig)
		}
	}
}

func (c *checker) client(at *node, cfg *promcfg.HTTPClientConfig) {
	if cfg.TLSConfig == (promcfg.TLSConfig{}) && cfg.OAuth2 == nil {
		return // Nothing that could go wrong.
	}
	client, err := promcfg.NewClientFromConfig(*cfg, "check")
	if err != nil {
		c.refuse(at, at.path()+": no HTTP client can be made: "+err.Error(), "correct tls_config: certificates and keys are PEM texts")
		return
	}
	client.CloseIdleConnections()
}
