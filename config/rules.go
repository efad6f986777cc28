// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// requiredLabels refuses a config that does not say clearly whose samples it sends.
func (c *checker) requiredLabels() {
	for _, name := range c.agent.RequiredLabels {
		external := c.main.root.get("global", "external_labels")
		value := external.get(name)
		if value == nil {
			c.refuseMissingLabel(name)
			continue
		}
		line := external.lineOf(name)
		if empty := emptyVariables(value.str()); len(empty) > 0 {
			c.refuseAt(value, line, fmt.Sprintf("the required external label %q needs the environment variable %s, which is unset or empty", name, strings.Join(empty, ", ")),
				"set it for the agent, or write the value; a plain $ is written $$")
			continue
		}
		text := expandLabel(value.str())
		switch {
		case strings.TrimSpace(text) == "":
			c.refuseAt(value, line, fmt.Sprintf("the required external label %q is empty", name), "give it a value")
		case strings.Contains(text, "${") || strings.Contains(text, "$(") || strings.Contains(text, "{{"):
			c.refuseAt(value, line, fmt.Sprintf("the required external label %q still holds a placeholder: %q", name, text), "write the value, or ${NAME} for an environment variable")
		}
	}
}

func (c *checker) refuseMissingLabel(name string) {
	at, line := c.main.root, 0
	if c.main.root.get("global") != nil {
		line = at.lineOf("global")
		if global := at.get("global"); global.get("external_labels") != nil {
			line = global.lineOf("external_labels")
		}
	}
	problem := fmt.Sprintf("the required external label %q is missing", name)
	if typo := c.typoOf(name); typo != "" {
		problem += fmt.Sprintf(" (there is %q)", typo)
	}
	c.refuseAt(at, line, problem, fmt.Sprintf("add `%s: <value>` under global.external_labels, or change --labels.required", name))
}

// typoOf finds an external label that is probably meant to be the required one.
func (c *checker) typoOf(name string) string {
	external := c.main.root.get("global", "external_labels")
	if external == nil {
		return ""
	}
	flat := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(s))
	}
	for _, f := range external.fields {
		if got := f.name.value; flat(got) == flat(name) || editDistance(got, name) <= 2 || len(got) >= 3 && strings.HasPrefix(name, got) {
			return got
		}
	}
	return ""
}

// emptyVariables are those variables of a label's value that are unset or empty.
func emptyVariables(value string) []string {
	return slices.DeleteFunc(variables(value), func(name string) bool { return os.Getenv(name) != "" })
}

// externalLabels refuses unset variables in the labels that are not required; an empty one is only a hint.
func (c *checker) externalLabels() {
	external := c.main.root.get("global", "external_labels")
	if external == nil {
		return
	}
	for _, f := range external.fields {
		if slices.Contains(c.agent.RequiredLabels, f.name.value) {
			continue
		}
		unset := slices.DeleteFunc(variables(f.value.str()), func(name string) bool { _, ok := os.LookupEnv(name); return ok })
		if len(unset) > 0 {
			c.refuse(f.name, fmt.Sprintf("the external label %q needs the environment variable %s, which is not set", f.name.value, strings.Join(unset, ", ")),
				"set it for the agent, or write the value; a plain $ is written $$")
		} else if f.value.kind == scalarNode && expandLabel(f.value.str()) == "" {
			c.hint(f.name, f.name.line, fmt.Sprintf("the external label %q is empty, so it is not sent", f.name.value), "give it a value or remove it")
		}
	}
}

// serverSections takes out what only a Prometheus server can use, and refuses it unless told to ignore it.
func (c *checker) serverSections() {
	root := c.main.root
	take := func(owner *node, name, shown string) {
		section := owner.get(name)
		if section == nil {
			return
		}
		line := owner.lineOf(name)
		owner.remove(name)
		if section.empty() {
			return
		}
		problem := fmt.Sprintf("section %q is for a Prometheus server; torchbearer has no use for it", shown)
		if c.opts.IgnoreServerSections {
			c.hint(section, line, problem+" and ignores it", "remove it when you can")
			return
		}
		c.refuseAt(section, line, problem, "remove it, or start with --config.ignore-server-sections (the prometheus-community chart renders alerting and rule_files whatever its values say)")
	}
	take(root, "alerting", "alerting")
	take(root, "rule_files", "rule_files")
	take(root, "remote_read", "remote_read")
	if storage := root.get("storage"); storage != nil {
		take(storage, "tsdb", "storage.tsdb")
	}
}

// discoveries refuses the kinds of service discovery that are not part of this binary.
func (c *checker) discoveries(doc *document) {
	list := doc.root.get("scrape_configs")
	if list == nil {
		return
	}
	for _, job := range list.items {
		for _, f := range slices.Clone(job.fields) {
			name := f.name.value
			if !strings.HasSuffix(name, "_sd_configs") || slices.Contains(strings.Split(linkedDiscoveries, ", "), name) {
				continue
			}
			c.refuse(f.name, fmt.Sprintf("%s: the service discovery %q is not part of this agent", job.path(), name), "use one of "+linkedDiscoveries)
			job.remove(name)
		}
	}
}

// remoteWrite refuses a config that sends nothing, or nowhere.
func (c *checker) remoteWrite() {
	list := c.main.root.get("remote_write")
	if list.empty() {
		line := 0
		if list != nil {
			line = c.main.root.lineOf("remote_write")
		}
		c.refuseAt(c.main.root, line, "there is no remote_write, so nothing would be sent", "add `remote_write: [{url: https://<central>/api/v1/write}]`")
		return
	}
	names := map[string]*node{}
	for _, rw := range list.items {
		if name := rw.get("name"); name.str() != "" {
			if other, ok := names[name.value]; ok {
				c.refuse(name, fmt.Sprintf("two remote_write have the name %q, the first is in line %d", name.value, other.line), "rename one of them")
			} else {
				names[name.value] = name
			}
		}
		if rw.get("url").str() != "" {
			c.remoteWriteURL(rw)
		}
	}
}

func (c *checker) remoteWriteURL(rw *node) {
	value := rw.get("url")
	u, err := url.Parse(value.value)
	if err != nil {
		return // Prometheus's parser reports it.
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		c.refuse(value, rw.path()+": the url is no address of a server", "write http:// or https://, a host and a path, for example https://<central>/api/v1/write")
	}
}
