// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"

	"torchbearer/agent/packed"
	"torchbearer/config"
)

// given returns a config with one destination, its rules and trusted jobs.
func given(t *testing.T, environment, rules string, trusted ...string) *config.Config {
	t.Helper()
	text := "global:\n  external_labels: {clustername: aks-1, environment: '" + environment + "', region: r1}\nremote_write:\n- url: http://127.0.0.1:1/\n"
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

// leave returns ls as it leaves, by way of what is on the wire; ok is whether it
// does.
func leave(t *testing.T, cfg *config.Config, ls labels.Labels) (left labels.Labels, ok bool) {
	t.Helper()
	set, err := newSettings(cfg, cfg.Prometheus.RemoteWriteConfigs[0], false)
	if err != nil {
		t.Fatal(err)
	}
	set.version = 1
	s := &series{logged: packed.Of(ls)}
	set.resolve(s, newResolver())
	if s.dropped {
		return labels.EmptyLabels(), false
	}
	body := newEncoder(false, set.encode).encode(nil, []point{{series: s, t: 1, v: 1}})
	var message prompb.WriteRequest
	if err := message.Unmarshal(body); err != nil {
		t.Fatal(err)
	}
	b := labels.NewScratchBuilder(0)
	return message.Timeseries[0].ToLabels(&b, nil), true
}

func TestWriteRelabelConfigsCannotChangeMandatoryLabels(t *testing.T) {
	rulesets := map[string]string{
		"none":  "",
		"set":   "  - {target_label: environment, replacement: other}\n",
		"empty": "  - {target_label: environment, replacement: ''}\n",
		"drop":  "  - {action: labeldrop, regex: 'clustername|environment'}\n",
		"keep":  "  - {action: labelkeep, regex: '__name__'}\n",
		"map":   "  - {action: labelmap, regex: 'x_(.*)', replacement: '$1'}\n",
	}
	for name, rules := range rulesets {
		for _, environment := range []string{"prod", "a$1b${2}$$"} {
			for _, trusted := range [][]string{nil, {"federate"}} {
				// Load expands what looks like a variable.
				cfg := given(t, strings.ReplaceAll(environment, "$", "$$"), rules, trusted...)
				got, _ := leave(t, cfg, labels.FromStrings("__name__", "app", "x_environment", "dev"))
				if got.Get("environment") != environment || got.Get("clustername") != "aks-1" {
					t.Errorf("rules %s, environment %s, trusted %v: left as %s", name, environment, trusted, got)
				}
			}
		}
	}
}

func TestHowSeriesLeave(t *testing.T) {
	for name, tc := range map[string]struct {
		rules   string
		trusted string
		series  labels.Labels
		want    string
	}{
		"external labels are added": {
			series: labels.FromStrings("__name__", "app"),
			want:   `{__name__="app", clustername="aks-1", environment="prod", region="r1"}`,
		},
		"an own label wins over one that is not mandatory": {
			series: labels.FromStrings("__name__", "app", "region", "own"),
			want:   `{__name__="app", clustername="aks-1", environment="prod", region="own"}`,
		},
		"a mandatory one wins over an own label": {
			series: labels.FromStrings("__name__", "app", "environment", "dev"),
			want:   `{__name__="app", clustername="aks-1", environment="prod", region="r1"}`,
		},
		"but for a trusted job": {
			trusted: "federate", rules: "  - {target_label: environment, replacement: other}\n",
			series: labels.FromStrings("__name__", "app", "environment", "dev"),
			want:   `{__name__="app", clustername="aks-1", environment="dev", region="r1"}`,
		},
		"rules see external labels": {
			rules:  "  - {source_labels: [region], target_label: place}\n",
			series: labels.FromStrings("__name__", "app"),
			want:   `{__name__="app", clustername="aks-1", environment="prod", place="r1", region="r1"}`,
		},
		"a rule drops": {
			rules:  "  - {source_labels: [__name__], regex: app, action: drop}\n",
			series: labels.FromStrings("__name__", "app"),
			want:   "dropped",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var trusted []string
			if tc.trusted != "" {
				trusted = append(trusted, tc.trusted)
			}
			got := "dropped"
			if left, ok := leave(t, given(t, "prod", tc.rules, trusted...), tc.series); ok {
				got = left.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
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
		if !slices.Contains(known, relabel.Action(action)) || err != nil || name == "" {
			return // The parser of the config refuses it.
		}
		rule := &relabel.Config{
			Action: relabel.Action(action), SourceLabels: model.LabelNames{model.LabelName(source)}, Separator: ";", Regex: re,
			Modulus: 8, TargetLabel: target, Replacement: replacement, NameValidationScheme: model.UTF8Validation,
		}
		if rule.Validate(model.UTF8Validation) != nil {
			return
		}
		own := name == "environment" || name == "clustername"
		for _, trusted := range [][]string{nil, {"federate"}} {
			if own && trusted != nil {
				continue // It is trusted to.
			}
			cfg := given(t, "prod", "", trusted...)
			cfg.Prometheus.RemoteWriteConfigs[0].WriteRelabelConfigs = []*relabel.Config{rule}
			got, ok := leave(t, cfg, labels.FromStrings("__name__", "app", name, value))
			if ok && (got.Get("environment") != "prod" || got.Get("clustername") != "aks-1") {
				t.Fatalf("trusted %v: left as %s", trusted, got)
			}
		}
	})
}

// Labels that the rules left alone are not kept a second time, and what leaves is
// what stood in the builder.
func TestRulesThatChangeNothingKeepNothing(t *testing.T) {
	const (
		drop     = "  - {source_labels: [__name__], regex: other, action: drop}\n"
		same     = "  - {source_labels: [zone], target_label: zone}\n"
		another  = "  - {source_labels: [zone], target_label: zone, replacement: x$1}\n"
		fewer    = "  - {action: labeldrop, regex: zone}\n"
		more     = "  - {target_label: more, replacement: x}\n"
		external = "  - {target_label: region, replacement: x}\n"
	)
	random := rand.New(rand.NewPCG(1, 2))
	kept, values := map[bool]int{}, []string{"", "1", "r1", "prod"}
	for _, rules := range []string{drop, same, another, fewer, more, external, "  - {action: labeldrop, regex: region}\n"} {
		for _, trusted := range [][]string{nil, {"federate"}} {
			cfg := given(t, "prod", drop+rules, trusted...)
			set, err := newSettings(cfg, cfg.Prometheus.RemoteWriteConfigs[0], false)
			if err != nil {
				t.Fatal(err)
			}
			set.version = 1
			for range 300 {
				lb := labels.NewScratchBuilder(0)
				lb.Add("__name__", "app")
				for _, name := range []string{"clustername", "environment", "more", "region", "zone"} {
					if random.IntN(2) == 0 {
						lb.Add(name, values[random.IntN(len(values))])
					}
				}
				s := &series{logged: packed.Of(lb.Labels())}
				r := newResolver()
				set.resolve(s, r)
				kept[s.complete]++
				var got []labels.Label
				got = appendMerged(got, s, set.encode.added)
				if want := r.builder.Labels(); !labels.Equal(labels.New(got...), want) {
					t.Fatalf("rules %s: %s left as %v, want %s", rules, s.logged, got, want)
				}
				if plain := appendMerged(nil, &series{logged: s.logged}, set.encode.added); s.complete == slices.Equal(plain, got) {
					t.Errorf("rules %s: %s, which leaves as %v, is kept: %v", rules, s.logged, got, s.complete)
				}
			}
		}
	}
	if kept[true] == 0 || kept[false] == 0 {
		t.Errorf("kept or not: %v", kept)
	}
}
