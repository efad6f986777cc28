// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"slices"
	"strings"
)

// lint gives hints about what is allowed and yet seldom meant.
func (c *checker) lint() {
	root := c.main.root
	for _, name := range []string{"tracing", "otlp"} {
		if section := root.get(name); !section.empty() {
			c.hint(section, root.lineOf(name), "section \""+name+"\" has no effect in this agent", "remove it when you can")
		}
	}
	if len(c.jobs()) == 0 {
		c.hint(root, 0, "there is no job in scrape_configs, so nothing is scraped", "add one")
	}
	for _, job := range c.jobs() {
		if len(c.hints) <= maxViolations {
			c.lintJob(job)
		}
	}
	for _, doc := range c.documents() {
		c.lintSettings(doc)
	}
	if list := root.get("remote_write"); list != nil {
		for _, rw := range list.items {
			c.lintRemoteWrite(rw)
		}
	}
}

func (c *checker) lintJob(job *node) {
	if job.kind != mappingNode {
		return
	}
	discovers := false
	for _, f := range job.fields {
		if (f.name.value == "static_configs" || strings.HasSuffix(f.name.value, "_sd_configs")) && !f.value.empty() {
			discovers = true
		}
	}
	if !discovers {
		c.hint(job, job.line, job.path()+" discovers no targets", "add one of "+linkedDiscoveries)
	}
	if honor := job.get("honor_labels").str(); honor == "true" || honor == "yes" || honor == "on" {
		if list := job.get("relabel_configs"); list != nil {
			for _, rule := range list.items {
				if rule.get("action").str() == "labelmap" {
					c.hint(rule, rule.line, job.path()+": with honor_labels a scraped label wins over one that this labelmap makes", "set honor_labels: false unless the job federates")
				}
			}
		}
	}
}

// lintSettings looks at what may stand at many places.
func (c *checker) lintSettings(doc *document) {
	eachSetting(doc.root, func(_ *node, f field) {
		if len(c.hints) > maxViolations {
			return
		}
		text := f.value.str()
		if f.name.value == "insecure_skip_verify" && text == "true" && !harmless(f.value) {
			c.hint(f.value, f.name.line, f.value.path()+": certificates are not verified", "name a ca_file if the server has a certificate of your own authority")
		}
		if strings.Contains(text, "://") && strings.Contains(text, "@") {
			if u, err := url.Parse(text); err == nil {
				if _, ok := u.User.Password(); ok {
					c.hint(f.value, f.name.line, f.value.path()+": there is a password in the URL", "use basic_auth with a password_file")
				}
			}
		}
	})
}

// harmless says whether the setting is that of a scrape job which shows its targets no credentials: pods seldom have a
// certificate for their address.
func harmless(setting *node) bool {
	if setting.parent == nil || setting.parent.parent == nil {
		return false
	}
	job := setting.parent.parent
	return job.get("job_name") != nil && !credentials(job)
}

func credentials(client *node) bool {
	return slices.ContainsFunc([]string{"basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"},
		func(name string) bool { return !client.get(name).null() })
}

func (c *checker) lintRemoteWrite(rw *node) {
	target := rw.get("url")
	if !strings.HasPrefix(target.str(), "http://") {
		return
	}
	if credentials(rw) {
		c.hint(target, target.line, rw.path()+": credentials are sent over http, which everybody on the way can read", "use https")
	}
}
