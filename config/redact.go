// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const secretText = "<secret>"

// String is the config as it runs, as YAML, with every secret shown as <secret>.
func (c *Config) String() string {
	var top yaml.Node
	if err := yaml.Unmarshal([]byte(c.Prometheus.String()), &top); err != nil || len(top.Content) == 0 {
		return "# the running config cannot be shown\n"
	}
	root := top.Content[0]
	drop(root, "storage", "otlp") // Defaults of a server.
	redact(root, "", false)
	var agent yaml.Node
	if err := agent.Encode(c.Agent); err == nil {
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "agent"}, &agent)
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return "# the running config cannot be shown\n"
	}
	return string(text)
}

// drop removes fields from a mapping.
func drop(n *yaml.Node, names ...string) {
	for i := 0; i+1 < len(n.Content); {
		if slices.Contains(names, n.Content[i].Value) {
			n.Content = slices.Delete(n.Content, i, i+2)
		} else {
			i += 2
		}
	}
}

// redact replaces the secrets at and below n, which stands under a field with the given name. Everything below a field
// whose values are all secret is replaced.
func redact(n *yaml.Node, name string, all bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Value != "" && n.Tag != "!!null" && (all || secretName(name)) {
			n.SetString(secretText)
		} else if clean := redactURLs(n.Value); clean != n.Value {
			n.SetString(clean)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1]
			if name == "labels" || name == "external_labels" {
				// A label may have any name, and is no secret, but for a parameter of the scrape.
				if parameter, ok := strings.CutPrefix(key, "__param_"); ok {
					key = parameter
				} else {
					key = ""
				}
			}
			if name == "http_headers" || key == "files" {
				redact(value, key, name == "http_headers")
				continue
			}
			redact(value, key, all || valuesAreSecret(key))
		}
	default:
		for _, item := range n.Content {
			redact(item, name, all)
		}
	}
}

// valuesAreSecret says whether all values in the mapping with this name are secret: any header may carry a token.
func valuesAreSecret(name string) bool {
	return slices.Contains([]string{"headers", "http_headers", "proxy_connect_header", "endpoint_params"}, name)
}

// secretName says whether the value of a field, a query parameter or a header with this name is secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, suffix := range []string{"_file", "_path", "_ref", "_url", "_id"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	if slices.Contains([]string{"key", "sig", "signature", "code", "auth", "p", "pass", "pwd", "authorization"}, name) { // InfluxDB has p.
		return true
	}
	return slices.ContainsFunc([]string{"passw", "secret", "token", "credential", "api_key", "apikey", "access_key", "accesskey"},
		func(part string) bool { return strings.Contains(name, part) })
}

// HideSecrets replaces, in every URL of a text that is to be shown, what is
// secret: see redactURLs.
func HideSecrets(text string) string { return redactURLs(text) }

// HideSecretLabel does so for the value of a target's label, where scrape
// parameters are secret by their names too.
func HideSecretLabel(name, value string) string {
	if parameter, ok := strings.CutPrefix(name, "__param_"); ok && value != "" && secretName(parameter) {
		return secretText
	}
	return redactURLs(value)
}

// redactURLs replaces, in every URL of a text, the password (or the user when there is no password: it is a token
// then) and the values of query parameters with a secret name; also in URLs that are written as a parameter of another.
func redactURLs(text string) string { return (&redactor{}).text(text, 3) }

// redactor compiles what it needs, once. It is for one goroutine.
type redactor struct{ user, token, parameter, value *regexp.Regexp }

func compiled(re **regexp.Regexp, text string) *regexp.Regexp {
	if *re == nil {
		*re = regexp.MustCompile(text)
	}
	return *re
}

// text hides what is secret in a text, and so often in URLs that are parameters.
func (r *redactor) text(text string, depth int) string {
	if strings.Contains(text, "//") {
		text = r.parameters(r.users(text))
	}
	if depth == 0 || !strings.Contains(text, "%") {
		return text
	}
	// What may be the value of a parameter: neither a text around it nor JSON is in it.
	return compiled(&r.value, `[^&#\s"\\=?<>]*%[^&#\s"\\=?<>]*`).ReplaceAllStringFunc(text, func(value string) string {
		whole := value
		if cut := strings.LastIndexByte(whole, '%'); cut > len(whole)-3 { // The end of it is not here.
			whole = whole[:cut]
		}
		plain, err := url.QueryUnescape(whole)
		if err != nil || plain == whole {
			return value
		}
		if clean := r.text(plain, depth-1); clean != plain {
			return url.QueryEscape(clean)
		}
		return value
	})
}

func (r *redactor) users(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	text = compiled(&r.user, `//([^/?#\s"@:]*):[^/?#\s"]*@`).ReplaceAllString(text, "//$1:"+secretText+"@")
	return compiled(&r.token, `//[^/?#\s"@:]+@`).ReplaceAllString(text, "//"+secretText+"@")
}

// parameters knows that JSON writes & as \u0026 and a quote with a backslash.
func (r *redactor) parameters(text string) string {
	if !strings.ContainsAny(text, "?&") {
		return text
	}
	parameter := compiled(&r.parameter, `([?&]|\\u0026)([^=&\s"\\]+)=(?:[^&#\s"\\]|\\(?:[^u"]|u(?:[^0]|0(?:[^0]|0(?:[^2]|2[^6])))))*`)
	return parameter.ReplaceAllStringFunc(text, func(match string) string {
		m := parameter.FindStringSubmatch(match)
		if !secretName(m[2]) {
			return match
		}
		return m[1] + m[2] + "=" + secretText
	})
}

// collectSecrets notes the texts of the config that no message may show.
func (c *checker) collectSecrets() {
	for _, doc := range c.documents() {
		c.collect(doc.root, "", false)
	}
	slices.Sort(c.secrets)
	c.secrets = slices.Compact(c.secrets)
	slices.SortStableFunc(c.secrets, func(a, b string) int { return len(b) - len(a) })
}

func (c *checker) collect(n *node, name string, all bool) {
	if n.kind == scalarNode && len(n.value) > 3 && (all || secretName(name)) {
		c.secrets = append(c.secrets, n.value)
	}
	if password := urlPassword(n.value); len(password) > 3 {
		c.secrets = append(c.secrets, password)
	}
	for _, item := range n.items {
		c.collect(item, name, all)
	}
	for _, f := range n.fields {
		key := f.name.value
		c.collect(f.value, key, (all || valuesAreSecret(key)) && key != "files")
	}
}

// urlPassword is what is secret before the @ of a URL: the password, or the user when there is none.
func urlPassword(text string) string {
	_, authority, found := strings.Cut(text, "//")
	end := strings.LastIndex(authority, "@")
	if !found || end < 0 {
		return ""
	}
	user, password, found := strings.Cut(authority[:end], ":")
	if !found {
		return user
	}
	return password
}

// scrub takes the secrets out of a message.
func (c *checker) scrub(text string) string {
	text = redactURLs(text)
	for _, secret := range c.secrets {
		if strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, secretText)
		}
	}
	return text
}
