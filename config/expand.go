// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// unsetVariable stands for a variable without a usable value, so that the rest of the setting can be checked.
const unsetVariable = "unset.invalid"

// userinfoOf says whether a URL has a user.
func userinfoOf(text string) bool {
	_, rest, found := strings.Cut(text, "//")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return found && strings.Contains(rest, "@")
}

// expandVariables replaces ${NAME} where a value is a URL or a selector of Kubernetes, and nowhere else: elsewhere,
// as in the replacement of a relabel rule, ${1} has a meaning of its own.
func (c *checker) expandVariables(doc *document) {
	eachSetting(doc.root, func(owner *node, f field) {
		if f.value.kind == scalarNode && expands(owner, f.name.value) && strings.Contains(f.value.value, "${") {
			c.expand(f)
		}
	})
}

// expands says whether variables are expanded in a setting.
func expands(owner *node, name string) bool {
	switch name {
	case "proxy_url", "token_url", "api_server":
		return true
	case "url":
		return isItemOf(owner, "remote_write") || isItemOf(owner, "http_sd_configs")
	case "label", "field":
		return isItemOf(owner, "selectors")
	default:
		return false
	}
}

// isItemOf says whether n is an item of a list with the given name.
func isItemOf(n *node, name string) bool {
	return n.parent != nil && n.parent.parent.get(name) == n.parent
}

// expand replaces the variables of one value; $${ stands for a plain ${.
func (c *checker) expand(f field) {
	reference := regexp.MustCompile(`\$?\$\{[^}]*\}?`)
	name := regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)
	hasUser := userinfoOf(reference.ReplaceAllString(f.value.value, "x"))
	f.value.value = reference.ReplaceAllStringFunc(f.value.value, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		m := name.FindStringSubmatch(ref)
		if m == nil {
			c.refuse(f.name, f.value.path()+": a ${ without the name of a variable", "write ${NAME}, or $${ for a plain ${")
			return ref
		}
		value, ok := os.LookupEnv(m[1])
		if !ok {
			c.refuse(f.name, fmt.Sprintf("%s: the environment variable %s is not set", f.value.path(), m[1]), "set it for the agent, or write the value")
			return unsetVariable
		}
		if hasUser && strings.ContainsAny(value, "/?#@ ") {
			c.refuse(f.name, fmt.Sprintf("%s: the environment variable %s holds a character that ends the user and password of a URL", f.value.path(), m[1]),
				"use basic_auth with password_file, or write it percent-encoded")
			return unsetVariable
		}
		return value
	})
	f.value.plain = false
}

// eachSetting calls visit for the fields of all mappings whose field names are settings, not names that a user chose.
func eachSetting(n *node, visit func(owner *node, f field)) {
	for _, item := range n.items {
		eachSetting(item, visit)
	}
	for _, f := range n.fields {
		visit(n, f)
		if !namesAreFree(f.name.value) {
			eachSetting(f.value, visit)
		}
	}
}

// namesAreFree says whether users choose the field names of the mapping with this name.
func namesAreFree(name string) bool {
	return slices.Contains([]string{
		"external_labels", "labels", "params", "headers", "http_headers", "proxy_connect_header",
		"endpoint_params", "claims", "tags", "agent",
	}, name)
}

// variables are the names that Prometheus expands in the value of an external label, by the rules of os.Expand.
func variables(value string) []string {
	var names []string
	os.Expand(value, func(name string) string {
		if name != "$" {
			names = append(names, name)
		}
		return ""
	})
	return names
}

// expandLabel gives the value of an external label as Prometheus's parser will make it.
func expandLabel(value string) string {
	return os.Expand(value, func(name string) string {
		if name == "$" {
			return "$"
		}
		return os.Getenv(name)
	})
}
