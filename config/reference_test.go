// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	promclient "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"
	"github.com/prometheus/sigv4"
)

// referenceSections are the mappings of the config that have a table, with their defaults.
func referenceSections() map[string]any {
	return map[string]any{
		"agent": Agent{}, "limits": Limits{},
		"top": promconfig.Config{}, "global": promconfig.DefaultGlobalConfig, "runtime": promconfig.DefaultRuntimeConfig,
		"scrape": promconfig.DefaultScrapeConfig, "relabel": relabel.DefaultRelabelConfig, "static": staticGroup{},
		"kubernetes": kubernetes.DefaultSDConfig, "namespaces": kubernetes.NamespaceDiscovery{},
		"selectors": kubernetes.SelectorConfig{}, "attach": kubernetes.AttachMetadataConfig{},
		"file": file.DefaultSDConfig, "http": http.DefaultSDConfig, "dns": dns.DefaultSDConfig,
		"remotewrite": promconfig.DefaultRemoteWriteConfig, "queue": promconfig.DefaultQueueConfig, "metadata": promconfig.DefaultMetadataConfig,
		"sigv4": sigv4.SigV4Config{}, "azuread": azuread.AzureADConfig{}, "googleiam": googleiam.Config{},
		"httpclient": promclient.DefaultHTTPClientConfig, "basicauth": promclient.BasicAuth{}, "authorization": promclient.Authorization{},
		"oauth2": promclient.OAuth2{}, "tls": promclient.TLSConfig{},
	}
}

// referenceField is one setting, as the code has it.
type referenceField struct {
	name, kind, value string
}

// referenceFields are those of a mapping, in the order of the code. The fields of an HTTP client have a table of their own.
func referenceFields(defaults any, titles map[reflect.Type]string) []referenceField {
	var fields []referenceField
	for f, v := range reflect.ValueOf(defaults).Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		inline := strings.Contains(options, "inline")
		switch {
		case f.Type == reflect.TypeFor[discovery.Configs]():
			for _, sd := range []struct {
				name string
				t    reflect.Type
			}{
				{"static_configs", reflect.TypeFor[[]staticGroup]()},
				{"kubernetes_sd_configs", reflect.TypeFor[[]kubernetes.SDConfig]()},
				{"file_sd_configs", reflect.TypeFor[[]file.SDConfig]()},
				{"http_sd_configs", reflect.TypeFor[[]http.SDConfig]()},
				{"dns_sd_configs", reflect.TypeFor[[]dns.SDConfig]()},
			} {
				fields = append(fields, referenceField{sd.name, kindOf(sd.t, titles), ""})
			}
		case inline && f.Type == reflect.TypeFor[promclient.HTTPClientConfig]():
		case inline && f.Type.Kind() == reflect.Struct:
			fields = append(fields, referenceFields(v.Interface(), titles)...)
		case name != "" && name != "-":
			fields = append(fields, referenceField{name, kindOf(f.Type, titles), defaultOf(v)})
		}
	}
	return fields
}

// kindOf is the kind of a value in people's words.
func kindOf(t reflect.Type, titles map[reflect.Type]string) string {
	t = bare(t)
	switch t {
	case reflect.TypeFor[model.Duration]():
		return "duration"
	case reflect.TypeFor[promclient.Secret]():
		return "secret"
	case reflect.TypeFor[promclient.URL]():
		return "URL"
	case reflect.TypeFor[labels.Labels]():
		return "mapping of text"
	case reflect.TypeFor[relabel.Regexp](), reflect.TypeFor[promclient.TLSVersion](), reflect.TypeFor[model.ValidationScheme]():
		return "text"
	}
	if title, ok := titles[t]; ok {
		return fmt.Sprintf("[%s](#%s)", title, anchorOf(title))
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + kindOf(t.Elem(), titles)
	case reflect.Map:
		return "mapping of " + kindOf(t.Elem(), titles)
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		if strings.HasSuffix(t.Name(), "Bytes") {
			return "size"
		}
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.String:
		return "text"
	case reflect.Interface:
		return "anything"
	default:
		return "mapping"
	}
}

// anchorOf is the anchor that a title gets.
func anchorOf(title string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// defaultOf is a default as one would write it; "" is none.
func defaultOf(v reflect.Value) string {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if text, ok := reflect.TypeAssert[fmt.Stringer](v); ok && !v.IsZero() {
		return "`" + text.String() + "`"
	}
	switch v.Kind() {
	case reflect.Bool:
		return fmt.Sprintf("`%v`", v)
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64, reflect.Float64, reflect.String:
		if text := fmt.Sprint(v); text != "" {
			return "`" + text + "`"
		}
	default:
	}
	return ""
}

// referenceText is a section of the words: its title, prose, and what is said about each field.
type referenceText struct {
	key, title string
	prose      []string
	order      []string
	defaults   map[string]string // where the code's own does not tell all
	meaning    map[string]string
}

func readReference(t *testing.T) []referenceText {
	t.Helper()
	words, err := os.ReadFile("testdata/reference.txt")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`^([a-z0-9_]+) \| (\.|=.*?) \| (.+)$`)
	var sections []referenceText
	for line := range strings.Lines(string(words)) {
		line = strings.TrimRight(line, "\n")
		if head, ok := strings.CutPrefix(line, "= "); ok {
			key, title, _ := strings.Cut(head, " | ")
			sections = append(sections, referenceText{key: key, title: title, defaults: map[string]string{}, meaning: map[string]string{}})
			continue
		}
		s := &sections[len(sections)-1]
		m := field.FindStringSubmatch(line)
		switch {
		case m == nil:
			s.prose = append(s.prose, line)
		case s.meaning[m[1]] != "":
			t.Errorf("testdata/reference.txt: %s.%s is described twice", s.key, m[1])
		default:
			s.order = append(s.order, m[1])
			s.meaning[m[1]] = m[3]
			if text, ok := strings.CutPrefix(m[2], "="); ok {
				s.defaults[m[1]] = text
			}
		}
	}
	return sections
}

// TestReference compares REFERENCE.md with the code and the words. Every field of the code has words, and all words a field.
func TestReference(t *testing.T) {
	sections, structs := readReference(t), referenceSections()
	titles := map[reflect.Type]string{}
	for _, s := range sections {
		if defaults, ok := structs[s.key]; ok {
			titles[reflect.TypeOf(defaults)] = s.title
		} else if s.key != "-" {
			t.Errorf("testdata/reference.txt: there is no section %q in the code", s.key)
		}
	}
	var out strings.Builder
	out.WriteString("# Config reference\n\nMade by `make golden` from the code and [testdata/reference.txt](testdata/reference.txt); a test compares them.\n" +
		"The config file is that of a Prometheus agent with one more section, `agent`. Where there is no default, nothing is set.\n")
	for _, s := range sections {
		fmt.Fprintf(&out, "\n## %s\n\n", s.title)
		if prose := strings.TrimSpace(strings.Join(s.prose, "\n")); prose != "" {
			out.WriteString(prose + "\n")
			if s.key != "-" {
				out.WriteString("\n")
			}
		}
		if s.key == "-" || structs[s.key] == nil {
			continue
		}
		out.WriteString("| field | kind | default | meaning |\n|---|---|---|---|\n")
		var known []string
		for _, f := range referenceFields(structs[s.key], titles) {
			known = append(known, f.name)
			if s.meaning[f.name] == "" {
				t.Errorf("testdata/reference.txt: section %q says nothing about %s: add `%s | . | <what it means>`", s.key, f.name, f.name)
			}
			if text, ok := s.defaults[f.name]; ok {
				f.value = text
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", f.name, f.kind, f.value, s.meaning[f.name])
		}
		for _, name := range s.order {
			if !slices.Contains(known, name) {
				t.Errorf("testdata/reference.txt: section %q describes %s, which the code does not have", s.key, name)
			}
		}
		delete(structs, s.key)
	}
	for key := range structs {
		t.Errorf("testdata/reference.txt has no section %q", key)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" && !t.Failed() { // make golden
		if err := os.WriteFile("REFERENCE.md", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("REFERENCE.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), out.String()); diff != "" {
		t.Errorf("run make golden if this is meant (-file +code):\n%s", diff)
	}
}
