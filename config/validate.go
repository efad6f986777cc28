// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
)

// defaultGoGC is less than Prometheus's 75: scraping what is known already leaves
// little garbage (half a megabyte a second of 300,000 series), so that memory is
// cheaper here than there. The agent may take less.
const defaultGoGC = 25

// load gives a tree to Prometheus's parser.
func load(root *node) (*promconfig.Config, *emitted, error) {
	text := emit(root)
	cfg, err := promconfig.Load(text.text.String(), slog.New(slog.DiscardHandler))
	return cfg, text, err
}

// mapping is a tree for a trial: its values stay where they are in the config's own tree.
func mapping(fields ...field) *node { return &node{kind: mappingNode, fields: slices.Clone(fields)} }

func named(name string, value *node) field {
	return field{&node{value: name, line: value.line, file: value.file}, value}
}

func listOf(items ...*node) *node { return &node{kind: listNode, items: items} }

// validate lets Prometheus's parser judge the trees. That parser stops at the first mistake of most kinds, so when it
// refuses a tree its pieces are tried one by one.
func (c *checker) validate() *promconfig.Config {
	root := mapping(c.main.root.fields...)
	c.scrapeConfigFiles(root)
	cfg, _, err := load(root)
	if cfg != nil && c.gogcByDefault() {
		cfg.Runtime.GoGC = defaultGoGC
	}
	global := c.main.root.get("global")
	if err != nil {
		before := len(c.errs)
		global = c.pieces(root)
		if len(c.errs) == before && before == 0 {
			c.refuseLoad(err, nil, trial{at: c.main.root})
		}
	}
	for _, doc := range c.files {
		c.validateFile(cfg, doc, global)
	}
	c.duplicateRemoteWrites()
	if cfg != nil {
		c.requiredLabelsArrived(cfg)
	}
	return cfg
}

// gogcByDefault says that nobody says what GOGC is to be.
func (c *checker) gogcByDefault() bool {
	return c.main.root.get("runtime", "gogc") == nil && os.Getenv("GOGC") == ""
}

// requiredLabelsArrived looks at the labels as Prometheus's parser made them, whatever our reading of the text said.
func (c *checker) requiredLabelsArrived(cfg *promconfig.Config) {
	for _, name := range c.agent.RequiredLabels {
		if len(c.errs) == 0 && strings.TrimSpace(cfg.GlobalConfig.ExternalLabels.Get(name)) == "" {
			c.refuseAt(c.main.root, 0, fmt.Sprintf("the required external label %q is empty", name), "write its value as plain text")
		}
	}
}

// scrapeConfigFiles checks the patterns and takes them out: the files are merged by us.
func (c *checker) scrapeConfigFiles(root *node) {
	if i := root.index("scrape_config_files"); i >= 0 {
		c.accepts(trial{wrap: itself}, mapping(), root.fields[i])
		root.remove("scrape_config_files")
	}
}

func itself(n *node) *node { return n }

// validateFile reads a file of scrape_config_files and puts its jobs behind those of cfg.
func (c *checker) validateFile(cfg *promconfig.Config, doc *document, global *node) {
	jobs := doc.root.get("scrape_configs")
	if jobs == nil {
		return
	}
	if global != nil && global.get("scrape_failure_log_file").str() != "" {
		// A job inherits the name as the main file means it.
		log := global.get("scrape_failure_log_file")
		global = mapping(slices.Clone(global.fields)...)
		global.fields[global.index("scrape_failure_log_file")].value = log.text(joinDir(c.main.dir(), log.value))
	}
	base := mapping()
	if global != nil {
		base.fields = append(base.fields, named("global", global))
	}
	fileCfg, text, err := load(mapping(append(slices.Clone(base.fields), named("scrape_configs", jobs))...))
	if err != nil {
		before := len(c.errs)
		c.elements(base, "scrape_configs", jobs)
		if len(c.errs) == before && before == 0 {
			c.refuseLoad(err, text, trial{at: jobs})
		}
		return
	}
	for _, job := range fileCfg.ScrapeConfigs {
		job.SetDirectory(doc.dir())
	}
	if cfg != nil {
		cfg.ScrapeConfigs = append(cfg.ScrapeConfigs, fileCfg.ScrapeConfigs...)
	}
}

// pieces tries every section, every job and every remote_write alone. It returns as much of the global section as
// Prometheus's parser takes, for jobs inherit from it.
func (c *checker) pieces(root *node) *node {
	base := mapping()
	var good *node
	if global := root.get("global"); global != nil {
		good = c.isolate(trial{
			at: global, line: root.lineOf("global"), keep: []string{"scrape_interval", "metric_name_validation_scheme"},
			wrap: func(n *node) *node { return mapping(named("global", n)) },
		})
		// Some mistakes show only when a job inherits them.
		job := listOf(mapping(named("job_name", &node{value: "trial"})))
		if _, text, err := load(mapping(named("global", good), named("scrape_configs", job))); err != nil {
			c.refuseLoad(err, text, trial{at: global, line: root.lineOf("global")})
			good = mapping()
		}
		base.fields = append(base.fields, named("global", good))
	}
	for _, f := range root.fields {
		if len(c.errs) > maxViolations {
			return good // Nobody reads more.
		}
		switch f.name.value {
		case "global":
		case "scrape_configs", "remote_write":
			c.elements(base, f.name.value, f.value)
		case "runtime", "storage":
			c.isolate(trial{at: f.value, line: f.name.line, wrap: func(n *node) *node { return mapping(named(f.name.value, n)) }})
		default:
			c.accepts(trial{wrap: itself}, mapping(), f)
		}
	}
	return good
}

// elements tries every item of a list of jobs or of remote_write.
func (c *checker) elements(base *node, section string, list *node) {
	keep := []string{"job_name", "scrape_interval", "proxy_url", "proxy_from_environment", "metric_name_validation_scheme"}
	placeholder := named("job_name", &node{value: "trial"})
	if section == "remote_write" {
		keep = []string{"url", "proxy_url", "proxy_from_environment"}
		placeholder = named("url", &node{value: "http://trial"})
	}
	if list.kind != listNode && !list.null() {
		if _, text, err := load(mapping(named(section, list))); err != nil {
			c.refuseLoad(err, text, trial{at: list})
		}
		return
	}
	for _, item := range list.items {
		if len(c.errs) > maxViolations {
			return // Nobody reads more.
		}
		c.isolate(trial{at: item, line: item.line, keep: keep, placeholder: placeholder, wrap: func(n *node) *node {
			return mapping(append(slices.Clone(base.fields), named(section, listOf(n)))...)
		}})
	}
}

// duplicateRemoteWrites refuses what storage/remote refuses: two that differ in nothing but secrets.
func (c *checker) duplicateRemoteWrites() {
	list := c.main.root.get("remote_write")
	if list == nil || len(list.items) < 2 {
		return
	}
	first := map[string]int{}
	for _, item := range list.items {
		cfg, _, err := load(mapping(named("remote_write", listOf(item))))
		if err != nil || item.get("name").str() != "" {
			continue
		}
		text := cfg.String()
		if line, ok := first[text]; ok {
			c.refuse(item, fmt.Sprintf("this remote_write is the same as the one in line %d", line), "remove it, or give both a name")
			continue
		}
		first[text] = item.line
	}
}
