// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
)

// linkedDiscoveries are the sections for targets that this binary can serve.
const linkedDiscoveries = "kubernetes_sd_configs, file_sd_configs, http_sd_configs, dns_sd_configs, static_configs"

// checker holds one config while it is read. Its steps run in the order that check names: each may take out of the
// trees what it has dealt with, so that later steps, and Prometheus's parser, do not report it again.
type checker struct {
	opts       Options
	main       *document
	files      []*document
	complete   bool // all files could be read, so that what is not found does not exist
	agent      Agent
	jobNodes   map[string]*node // all jobs by name, made when first asked for
	scopeNames map[string]*node // the jobs of agent.scopes, where they are named
	secrets    []string         // texts that no message may show

	errs  Violations
	hints Violations
}

func (c *checker) refuse(n *node, problem, remedy string) {
	c.errs = append(c.errs, n.violation(problem, remedy))
}

func (c *checker) refuseAt(n *node, line int, problem, remedy string) {
	c.errs = append(c.errs, Violation{n.file, line, problem, remedy})
}

func (c *checker) hint(n *node, line int, problem, remedy string) {
	c.hints = append(c.hints, Violation{n.file, line, problem, remedy})
}

// read makes the trees. It says whether there is a main one, without which nothing else can be checked.
func (c *checker) read(src *Source) bool {
	c.errs = slices.Clone(src.problems)
	c.hints = slices.Clone(src.hints)
	c.complete = len(src.problems) == 0
	main, found := parseDocument(src.Main)
	c.errs = append(c.errs, found...)
	for _, f := range src.Files {
		doc, found := parseDocument(f)
		c.errs = append(c.errs, found...)
		if doc == nil {
			c.complete = false
			continue
		}
		if len(doc.root.fields) == 0 {
			c.hint(doc.root, 0, "the file is empty, so no job comes from it", "write scrape_configs into it, or remove it")
		}
		c.hints = append(c.hints, doc.hints...)
		c.files = append(c.files, doc)
	}
	if main == nil {
		return false
	}
	if len(main.root.fields) == 0 {
		c.refuse(main.root, "the file is empty", "write a config into it; an agent cannot run without remote_write and external labels")
		return false
	}
	c.main = main
	c.hints = append(c.hints, main.hints...)
	return true
}

// check runs our own rules. What remains in the trees is for Prometheus's parser.
func (c *checker) check() {
	c.collectSecrets()
	c.serverSections()
	c.agentSection()
	c.requiredLabels()
	c.externalLabels()
	for _, doc := range c.documents() {
		c.expandVariables(doc)
	}
	c.collectSecrets() // Variables bring secrets too.
	for _, doc := range c.files {
		c.onlyScrapeConfigs(doc)
	}
	for _, doc := range c.documents() {
		c.discoveries(doc)
		c.fileReferences(doc)
	}
	c.jobNames()
	c.remoteWrite()
	c.lint()
	c.defaults()
}

func (c *checker) documents() []*document { return append([]*document{c.main}, c.files...) }

// onlyScrapeConfigs refuses other sections in a file of scrape_config_files.
func (c *checker) onlyScrapeConfigs(doc *document) {
	for _, f := range slices.Clone(doc.root.fields) {
		if f.name.value == "scrape_configs" {
			continue
		}
		c.refuse(f.name, fmt.Sprintf("section %q is not allowed in a file of scrape_config_files", f.name.value), "move it to the main config file; only scrape_configs stands here")
		doc.root.remove(f.name.value)
	}
}

// jobs are all elements of scrape_configs, those of the main file first.
func (c *checker) jobs() []*node {
	var jobs []*node
	for _, doc := range c.documents() {
		if list := doc.root.get("scrape_configs"); list != nil {
			jobs = append(jobs, list.items...)
		}
	}
	return jobs
}

// jobNames refuses a name that two jobs have.
func (c *checker) jobNames() {
	first := map[string]*node{}
	for _, job := range c.jobs() {
		name := job.get("job_name")
		if name.str() == "" {
			continue // Prometheus's parser reports it.
		}
		if other, ok := first[name.value]; ok {
			c.refuse(name, fmt.Sprintf("job name %q is used twice, first in %s:%d", name.value, other.file, other.line), "rename one of the two jobs")
			continue
		}
		first[name.value] = name
	}
}

// defaults writes what flags decide into the tree, where the file leaves it open.
func (c *checker) defaults() {
	root := c.main.root
	setDefault := func(section, name string, value *node) {
		if root.get(section).null() {
			root.set(section, &node{file: c.main.path, kind: mappingNode})
		}
		if s := root.get(section); s.kind == mappingNode && s.get(name) == nil {
			s.set(name, value)
		}
	}
	if c.opts.DefaultProtoFirst {
		setDefault("global", "scrape_protocols", protoFirst(root))
	}
	if c.opts.DefaultExtraScrapeMetrics {
		setDefault("global", "extra_scrape_metrics", &node{value: "true", plain: true})
	}
	if c.opts.DefaultLogLevel != "" {
		setDefault("runtime", "log_level", &node{value: c.opts.DefaultLogLevel})
	}
}
