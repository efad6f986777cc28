// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/config"
)

// given returns a config with one destination, its rules and trusted jobs.
func given(t *testing.T, environment, rules string, trusted ...string) *config.Config {
	t.Helper()
	text := "global:\n  external_labels: {clustername: aks-1, environment: '" + environment + "'}\nremote_write:\n- url: http://127.0.0.1:1/\n"
	if rules != "" {
		text += "  write_relabel_configs:\n" + rules
	}
	prom, err := promconfig.Load(text, promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{
		Prometheus: prom,
		Agent:      config.Agent{RequiredLabels: []string{"clustername", "environment"}, TrustedLabelJobs: trusted},
	}
}

// leave returns ls as storage/remote makes it leave: external labels where it
// has none of that name, then the rules.
func leave(cfg *config.Config, ls labels.Labels) labels.Labels {
	effective := withMandatoryLabels(cfg)
	b := labels.NewBuilder(ls)
	effective.GlobalConfig.ExternalLabels.Range(func(l labels.Label) {
		if b.Get(l.Name) == "" {
			b.Set(l.Name, l.Value)
		}
	})
	if !relabel.ProcessBuilder(b, effective.RemoteWriteConfigs[0].WriteRelabelConfigs...) {
		return labels.EmptyLabels()
	}
	return b.Labels()
}

func TestWriteRelabelConfigsCannotChangeMandatoryLabels(t *testing.T) {
	rulesets := map[string]string{
		"none":             "",
		"set":              "  - {target_label: environment, replacement: other}\n",
		"empty":            "  - {target_label: environment, replacement: ''}\n",
		"drop":             "  - {action: labeldrop, regex: 'clustername|environment|__torchbearer.*'}\n",
		"keep":             "  - {action: labelkeep, regex: '__name__'}\n",
		"map":              "  - {action: labelmap, regex: 'x_(.*)', replacement: '$1'}\n",
		"kept is attacked": "  - {target_label: __torchbearer_kept_environment, replacement: ''}\n",
	}
	for name, rules := range rulesets {
		for _, environment := range []string{"prod", "a$1b${2}$$"} {
			for _, trusted := range [][]string{nil, {"federate"}} {
				// Load expands what looks like a variable.
				cfg := given(t, strings.ReplaceAll(environment, "$", "$$"), rules, trusted...)
				got := leave(cfg, labels.FromStrings("__name__", "app", "x_environment", "dev"))
				if got.Get("environment") != environment || got.Get("clustername") != "aks-1" {
					t.Errorf("rules %s, environment %s, trusted %v: left as %s", name, environment, trusted, got)
				}
				got.Range(func(l labels.Label) {
					if strings.HasPrefix(l.Name, keptPrefix) {
						t.Errorf("rules %s: %s left with a label of ours", name, got)
					}
				})
			}
		}
	}
}

func TestATrustedJobKeepsItsOwnLabels(t *testing.T) {
	cfg := given(t, "prod", "  - {target_label: environment, replacement: other}\n", "federate")
	got := leave(cfg, labels.FromStrings("__name__", "app", "environment", "dev"))
	want := labels.FromStrings("__name__", "app", "environment", "dev", "clustername", "aks-1")
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTheConfigGivenIsNotChanged(t *testing.T) {
	cfg := given(t, "prod", "  - {target_label: x, replacement: y}\n")
	before := cfg.Prometheus.String()
	withMandatoryLabels(cfg)
	if diff := cmp.Diff(before, cfg.Prometheus.String()); diff != "" {
		t.Error(diff)
	}
}

func TestUserinfoBecomesBasicAuth(t *testing.T) {
	parse := func(text string) *promcfg.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return &promcfg.URL{URL: u}
	}
	rw := &promconfig.RemoteWriteConfig{
		URL:              parse("https://user:hunter2@central/write"),
		HTTPClientConfig: promcfg.HTTPClientConfig{Authorization: &promcfg.Authorization{Credentials: "token"}},
	}
	got := withoutUserinfo(rw)
	if got.URL.String() != "https://central/write" {
		t.Errorf("URL is %s", got.URL)
	}
	if a := got.HTTPClientConfig.BasicAuth; a == nil || a.Username != "user" || a.Password != "hunter2" || got.HTTPClientConfig.Authorization != nil {
		t.Errorf("authentication is %+v", got.HTTPClientConfig)
	}
	if rw.URL.User == nil || rw.HTTPClientConfig.Authorization == nil {
		t.Error("the config given was changed")
	}
	plain := &promconfig.RemoteWriteConfig{URL: parse("https://central/write")}
	if got := withoutUserinfo(plain); got.HTTPClientConfig.BasicAuth != nil {
		t.Error("a URL without a user got basic_auth")
	}
}

// FuzzMandatoryLabels lets any one rule loose on any series.
func FuzzMandatoryLabels(f *testing.F) {
	f.Add("replace", "environment", "(.*)", "environment", "$1x", "environment", "dev")
	f.Add("labelmap", "", "x_(.+)", "", "$1", "x_environment", "dev")
	f.Add("labeldrop", "", ".*", "", "$1", "a", "b")
	f.Add("labelkeep", "", "nothing", "", "$1", "a", "b")
	f.Fuzz(func(t *testing.T, action, source, regex, target, replacement, name, value string) {
		re, err := relabel.NewRegexp(regex)
		known := []relabel.Action{
			relabel.Replace, relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual, relabel.HashMod,
			relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep, relabel.Lowercase, relabel.Uppercase,
		}
		if !slices.Contains(known, relabel.Action(action)) {
			return // The parser of the config refuses it.
		}
		if err != nil || name == "" || name == "environment" || name == "clustername" {
			return
		}
		rule := &relabel.Config{
			Action: relabel.Action(action), SourceLabels: model.LabelNames{model.LabelName(source)}, Separator: ";", Regex: re,
			Modulus: 8, TargetLabel: target, Replacement: replacement, NameValidationScheme: model.UTF8Validation,
		}
		if rule.Validate(model.UTF8Validation) != nil {
			return
		}
		for _, trusted := range [][]string{nil, {"federate"}} {
			cfg := given(t, "prod", "", trusted...)
			cfg.Prometheus.RemoteWriteConfigs[0].WriteRelabelConfigs = []*relabel.Config{rule}
			got := leave(cfg, labels.FromStrings("__name__", "app", name, value))
			if !got.IsEmpty() && (got.Get("environment") != "prod" || got.Get("clustername") != "aks-1") {
				t.Fatalf("trusted %v: left as %s", trusted, got)
			}
		}
	})
}
