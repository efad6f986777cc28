// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// agentSection reads the `agent:` section and takes it out of the tree.
func (c *checker) agentSection() {
	c.agent = Agent{Scopes: map[string]Scope{}}
	c.scopeNames = map[string]*node{}
	root := c.main.root
	section := root.get("agent")
	line := root.lineOf("agent")
	defer root.remove("agent")
	c.readRequiredLabels(section.get("required_labels"))
	if section.null() {
		return
	}
	if section.kind != mappingNode {
		c.refuseAt(section, line, "section \"agent\" must be a mapping", "write its fields below it, or remove it")
		return
	}
	for _, f := range section.fields {
		switch f.name.value {
		case "required_labels":
		case "trusted_label_jobs":
			c.agent.TrustedLabelJobs = c.strings(f)
			c.jobsExist(f)
		case "scopes":
			c.readScopes(f)
		case "limits":
			c.readLimits(f)
		default:
			c.unknownField(f, "agent", []string{"required_labels", "trusted_label_jobs", "scopes", "limits"})
		}
	}
}

func (c *checker) unknownField(f field, where string, known []string) {
	remedy := "remove it"
	if len(known) > 0 && len(known) <= 6 {
		remedy += "; known are " + strings.Join(known, ", ")
	}
	if near := nearest(f.name.value, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	c.refuse(f.name, fmt.Sprintf("unknown field %q in %s", f.name.value, where), remedy)
}

// readRequiredLabels takes the names from the file or, when it has none, from the flag.
func (c *checker) readRequiredLabels(section *node) {
	at := &node{file: c.main.path}
	names := c.opts.RequiredLabels
	if !section.null() {
		at = section
		names = c.strings(field{section, section})
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		switch {
		case name == "" || slices.Contains(c.agent.RequiredLabels, name):
		case !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(name):
			c.refuse(at, fmt.Sprintf("required label %q is no valid label name", name), "use letters, digits and underscores")
		case strings.HasPrefix(name, "__") || slices.Contains([]string{"job", "instance", "le", "quantile"}, name):
			c.refuse(at, fmt.Sprintf("label %q cannot be required: every target or histogram has its own", name), "name labels that tell agents apart, for example clustername, environment")
		default:
			c.agent.RequiredLabels = append(c.agent.RequiredLabels, name)
		}
	}
	if len(c.agent.RequiredLabels) == 0 {
		c.hint(at, at.line, "no label is required, so nothing tells whose samples these are", "name some with --labels.required or agent.required_labels")
	}
}

// strings reads a list of texts; a null one is empty.
func (c *checker) strings(f field) []string {
	if f.value.null() {
		return nil
	}
	texts := []string{}
	for _, item := range f.value.items {
		if item.str() == "" {
			c.refuse(item, f.value.path()+" takes a list of names", "write one name an item")
			continue
		}
		texts = append(texts, item.value)
	}
	if f.value.kind != listNode {
		c.refuse(f.name, f.value.path()+" takes a list of names", "write it as [name, name]")
	}
	return texts
}

func (c *checker) readScopes(f field) {
	if !f.value.null() && f.value.kind != mappingNode {
		c.refuse(f.name, "agent.scopes takes a mapping of job names", "write `<job>: node`, `cluster` or `every`")
		return
	}
	for _, scope := range f.value.fields {
		if !slices.Contains([]Scope{ScopeNode, ScopeCluster, ScopeEvery}, Scope(scope.value.str())) {
			c.refuse(scope.name, fmt.Sprintf("agent.scopes: %q is no scope for job %q", scope.value.value, scope.name.value), "write node, cluster or every")
		}
		c.jobExists(scope.name, "agent.scopes")
		c.agent.Scopes[scope.name.value] = Scope(scope.value.value)
		c.scopeNames[scope.name.value] = scope.name
	}
}

func (c *checker) readLimits(f field) {
	if !f.value.null() && f.value.kind != mappingNode {
		c.refuse(f.name, "agent.limits takes a mapping", "write `limits: {max_series: 0}`")
		return
	}
	limits := &c.agent.Limits
	for _, limit := range f.value.fields {
		switch limit.name.value {
		case "max_series":
			limits.MaxSeries = c.count(limit, "agent.limits.max_series")
		case "max_series_per_job":
			limits.MaxSeriesPerJob = c.count(limit, "agent.limits.max_series_per_job")
		case "job_max_series":
			c.readJobLimits(limit)
		default:
			c.unknownField(limit, "agent.limits", []string{"max_series", "max_series_per_job", "job_max_series"})
		}
	}
}

func (c *checker) readJobLimits(f field) {
	if !f.value.null() && f.value.kind != mappingNode {
		c.refuse(f.name, "agent.limits.job_max_series takes a mapping of job names", "write `<job>: <number>`")
		return
	}
	for _, limit := range f.value.fields {
		c.jobExists(limit.name, "agent.limits.job_max_series")
		if c.agent.Limits.JobMaxSeries == nil {
			c.agent.Limits.JobMaxSeries = map[string]int{}
		}
		c.agent.Limits.JobMaxSeries[limit.name.value] = c.count(limit, fmt.Sprintf("agent.limits.job_max_series[%q]", limit.name.value))
	}
}

// count reads a number that bounds something; a null one is 0.
func (c *checker) count(f field, name string) int {
	n, err := strconv.Atoi(f.value.str())
	if !f.value.null() && (err != nil || n < 0) {
		c.refuse(f.name, name+" must be a whole number, 0 or more", "write 0 for no limit")
		return 0
	}
	return n
}

func (c *checker) jobsExist(f field) {
	for _, item := range f.value.items {
		if item.str() != "" {
			c.jobExists(item, f.value.path())
		}
	}
}

// jobExists refuses the name of a job that no file has. When a file could not be read, nobody knows.
func (c *checker) jobExists(name *node, where string) {
	known := c.jobsByName()
	if _, ok := known[name.value]; ok || !c.complete {
		return
	}
	remedy := "correct the name, or add the job to scrape_configs"
	if near := nearest(name.value, slices.Sorted(maps.Keys(known))); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	c.refuse(name, fmt.Sprintf("%s: there is no job %q", where, name.value), remedy)
}

// jobsByName are the jobs of all files.
func (c *checker) jobsByName() map[string]*node {
	if c.jobNodes == nil {
		c.jobNodes = map[string]*node{}
		for _, job := range c.jobs() {
			c.jobNodes[job.get("job_name").str()] = job
		}
	}
	return c.jobNodes
}
