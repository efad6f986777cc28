// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v2"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rules reads them as the config does.
func rules(tb testing.TB, text string) []*relabel.Config {
	tb.Helper()
	var all []*relabel.Config
	if err := yaml.UnmarshalStrict([]byte(text), &all); err != nil {
		tb.Fatalf("%v in\n%s", err, text)
	}
	for _, r := range all {
		if err := r.Validate(model.UTF8Validation); err != nil {
			tb.Fatalf("%v in\n%s", err, text)
		}
	}
	return all
}

// someRules makes rules of all actions that often hit.
func someRules(r *rand.Rand) string {
	names := []string{"__address__", "__meta_a", "__meta_b", "a", "b", "job", "instance", "__scheme__", "__metrics_path__"}
	name := func() string { return names[r.IntN(len(names))] }
	regexes := []string{"(.*)", "x", "x|y", "(.+);(.*)", "", "__meta_(.+)", "[ab]", "(.+):9090", "__.*"}
	var b strings.Builder
	for range 1 + r.IntN(8) {
		regex := regexes[r.IntN(len(regexes))]
		switch r.IntN(11) {
		case 0:
			fmt.Fprintf(&b, "- {action: drop, source_labels: [%s], regex: '%s'}\n", name(), regex)
		case 1:
			fmt.Fprintf(&b, "- {action: keep, source_labels: [%s, %s], regex: '%s|.*'}\n", name(), name(), regex)
		case 2:
			fmt.Fprintf(&b, "- {action: dropequal, source_labels: [%s], target_label: %s}\n", name(), name())
		case 3:
			fmt.Fprintf(&b, "- {action: keepequal, source_labels: [%s], target_label: %s}\n", name(), name())
		case 4:
			fmt.Fprintf(&b, "- {action: labelmap, regex: '%s', replacement: m_$1}\n", regex)
		case 5:
			fmt.Fprintf(&b, "- {action: labeldrop, regex: '%s'}\n", regex)
		case 6:
			fmt.Fprintf(&b, "- {action: labelkeep, regex: '%s|__address__|__scrape.*'}\n", regex)
		case 7:
			fmt.Fprintf(&b, "- {action: hashmod, source_labels: [%s], target_label: %s, modulus: 3}\n", name(), name())
		case 8:
			fmt.Fprintf(&b, "- {action: uppercase, source_labels: [%s], target_label: %s}\n", name(), name())
		default:
			fmt.Fprintf(&b, "- {source_labels: [%s, %s], regex: '%s', target_label: %s, replacement: '$1', separator: '/'}\n", name(), name(), regex, name())
		}
	}
	return b.String()
}

// TestTargetsEndAsTheLibrarySays: the steps of a target end with the labels that
// the library gives to it, or where it drops it.
func TestTargetsEndAsTheLibrarySays(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // Chance is all that is asked of it.
		text := someRules(r)
		value := func() model.LabelValue { return model.LabelValue([]string{"x", "y", "", "h:9090", "X"}[r.IntN(5)]) }
		own := model.LabelSet{"__address__": "h:9090", "__meta_a": value(), "a": value()}
		group := model.LabelSet{"__meta_b": value(), "b": value(), "a": value()}
		cfg := promconfig.DefaultScrapeConfig
		cfg.JobName, cfg.ScrapeInterval, cfg.ScrapeTimeout = "x", model.Duration(time.Minute), model.Duration(time.Second)
		cfg.RelabelConfigs = rules(t, text)

		b := labels.NewBuilder(labels.EmptyLabels())
		want := map[string]bool{} // Where a labelmap maps two discovered labels to one, the library goes by chance.
		for range 10 {
			scrape.PopulateDiscoveredLabels(b, &cfg, own, group)
			if kept := relabel.ProcessBuilder(b, cfg.RelabelConfigs...); kept {
				want["kept "+b.Labels().String()] = true
			} else {
				want["dropped"] = true
			}
		}
		scrape.PopulateDiscoveredLabels(b, &cfg, own, group)
		steps, kept := Relabel(b, cfg.RelabelConfigs)
		got := "dropped"
		if kept {
			got = "kept " + b.Labels().String()
		} else if last := steps[len(steps)-1]; !last.Dropped || last.Text != Rule(cfg.RelabelConfigs[last.Rule-1]) {
			t.Fatalf("seed %d: the last step is %+v", seed, last)
		}
		if !want[got] {
			t.Fatalf("seed %d: the steps end with\n%s\nthe library with\n%v\nrules:\n%s", seed, got, want, text)
		}
		if ls, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), &cfg, own, group); kept && err == nil && ls.IsEmpty() && len(want) == 1 {
			t.Fatalf("seed %d: the library drops what the steps keep:\n%s", seed, text)
		}
		replay(t, seed, cfg.RelabelConfigs, own, group, &cfg)
		outcomes[strings.SplitN(got, " ", 2)[0]]++
	}
	for _, outcome := range []string{"dropped", "kept"} {
		if outcomes[outcome] < 50 {
			t.Errorf("only %d of the rules end with %s", outcomes[outcome], outcome)
		}
	}
}

// replay does the changes of the steps one by one: they lead to the end.
func replay(t *testing.T, seed uint64, all []*relabel.Config, own, group model.LabelSet, cfg *promconfig.ScrapeConfig) {
	t.Helper()
	b := labels.NewBuilder(labels.EmptyLabels())
	scrape.PopulateDiscoveredLabels(b, cfg, own, group)
	replayed, end := labels.NewBuilder(b.Labels()), labels.NewBuilder(b.Labels())
	steps, _ := Relabel(end, all)
	for _, step := range steps {
		for _, c := range step.Changes {
			if got := replayed.Get(c.Name); got != c.Before {
				t.Fatalf("seed %d: rule %d says that %s was %q, but it was %q", seed, step.Rule, c.Name, c.Before, got)
			}
			replayed.Set(c.Name, c.After)
		}
	}
	if diff := cmp.Diff(end.Labels().String(), replayed.Labels().String()); diff != "" {
		t.Fatalf("seed %d: the changes do not lead to the end (-end +replayed):\n%s", seed, diff)
	}
}

// TestBeginHasTheDefaultsLast: where a labelmap makes one label of discovered ones
// and of those that the job adds, these stay, as with the library.
func TestBeginHasTheDefaultsLast(t *testing.T) {
	cfg := promconfig.DefaultScrapeConfig
	cfg.JobName, cfg.ScrapeInterval, cfg.ScrapeTimeout = "x", model.Duration(time.Minute), model.Duration(time.Second)
	cfg.RelabelConfigs = rules(t, "- {regex: '__(meta_a|scheme|address)__', replacement: m, action: labelmap}")
	own := model.LabelSet{"__address__": "h:9090", "__meta_a__": "y"}
	lb := labels.NewBuilder(labels.EmptyLabels())
	want, err := scrape.PopulateLabels(lb, &cfg, own, nil)
	if err != nil {
		t.Fatal(err)
	}
	scrape.PopulateDiscoveredLabels(lb, &cfg, own, nil)
	begin(lb, &cfg, standing(lb))
	if Relabel(lb, cfg.RelabelConfigs); lb.Get("m") != want.Get("m") || lb.Get("m") != "http" {
		t.Errorf("m is %q, the library says %q", lb.Get("m"), want.Get("m"))
	}
}

func TestRuleIsYAMLOnOneLine(t *testing.T) {
	for _, text := range []string{
		"{source_labels: [a, b], separator: '', regex: \"x;\\ny\", target_label: c, replacement: ''}",
		"{regex: '(?i)x: [1], {2}', action: labeldrop}",
		"{source_labels: [a], target_label: b, modulus: 7, action: hashmod}",
		"{source_labels: ['true'], regex: '1', target_label: 'null', replacement: '~'}",
		"{source_labels: [a], regex: '', action: keep}",
		"{source_labels: [a], target_label: b, action: keepequal}",
		"{source_labels: [weird name, \"\\u00e4\"], target_label: b}",
		"{regex: __meta_(.+), replacement: $1, action: labelmap}",
	} {
		rule := rules(t, "- "+text)[0]
		told := Rule(rule)
		if strings.ContainsAny(told, "\n\r") {
			t.Errorf("%s is told on several lines: %q", text, told)
		}
		again := rules(t, "- "+told)[0]
		if diff := cmp.Diff(fmt.Sprintf("%+v", rule), fmt.Sprintf("%+v", again)); diff != "" {
			t.Errorf("%s is told as %s, which means another rule (-want +got):\n%s", text, told, diff)
		}
	}
	if got, want := Rule(rules(t, "- {source_labels: [x], regex: '(.*)', separator: ;, action: drop, replacement: $1}")[0]), "{source_labels: [x], action: drop}"; got != want {
		t.Errorf("told as %s, want without defaults: %s", got, want)
	}
	secret := Rule(rules(t, "- {target_label: __param_target, replacement: 'https://u:hunter2@h/?token=hunter2'}")[0])
	if strings.Contains(secret, "hunter2") {
		t.Errorf("a password is shown: %s", secret)
	}
	if long := Rule(rules(t, "- {source_labels: [x], action: drop, regex: '"+strings.Repeat("abc|", 25_000)+"'}")[0]); len(long) > 2100 || !strings.Contains(long, "bytes)") {
		t.Errorf("a rule of 100 kB is told in %d bytes", len(long))
	}
}

func TestWhatStrangersSayIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 50_000)
	ls := labels.FromStrings("__address__", "h:1", "bad", "a\xffb", "long", long, "__param_token", "hunter2", "url", "http://u:hunter2@h/"+long)
	b := labels.NewBuilder(ls)
	steps, kept := Relabel(b, rules(t, "- {regex: '(.+)', replacement: copy_$1, action: labelmap}\n- {source_labels: [__param_token, long, bad], action: drop}"))
	if kept || len(steps) != 2 {
		t.Fatalf("kept %v, %d steps", kept, len(steps))
	}
	text := fmt.Sprint(steps, shown(ls))
	if !utf8.ValidString(text) {
		t.Error("what is told is not UTF-8")
	}
	if strings.Contains(text, "http://u:hunter2") {
		t.Error("a password is shown")
	}
	if strings.Contains(fmt.Sprint(shown(ls), steps[1]), "hunter2") {
		t.Error("a parameter is shown whose name says that it is secret")
	}
	if len(text) > 8000 {
		t.Errorf("%d bytes are told of values of 100 kB", len(text))
	}
	many := labels.NewScratchBuilder(0)
	for i := range 5000 {
		many.Add(fmt.Sprintf("l%04d", i), "x")
	}
	steps, _ = Relabel(labels.NewBuilder(many.Labels()), rules(t, "- {regex: 'l(.+)', replacement: m$1, action: labelmap}"))
	if got := steps[0]; len(got.Changes) != maxChanges || got.Omitted != 5000-maxChanges {
		t.Errorf("of 5000 changes %d are told and %d left out", len(got.Changes), got.Omitted)
	}
	if got := shown(many.Labels()); len(got) != maxLabels {
		t.Errorf("of 5000 labels %d are shown", len(got))
	}
}

func TestStepTellsWhatTheRuleLookedAt(t *testing.T) {
	steps, kept := Relabel(labels.NewBuilder(labels.FromStrings("a", "x", "b", "y")),
		rules(t, "- {source_labels: [a], target_label: c}\n- {source_labels: [a], target_label: b, action: keepequal}\n- {target_label: never, replacement: x}"))
	want := []status.RelabelStep{
		{Rule: 1, Text: "{source_labels: [a], target_label: c}", Source: []status.LabelValue{{Name: "a", Value: "x"}}, Changes: []status.LabelChange{{Name: "c", After: "x"}}},
		{
			Rule: 2, Text: "{source_labels: [a], target_label: b, action: keepequal}", Dropped: true,
			Source: []status.LabelValue{{Name: "a", Value: "x"}, {Name: "b", Value: "y"}}, Changes: []status.LabelChange{},
		},
	}
	if diff := cmp.Diff(want, steps); diff != "" || kept {
		t.Errorf("kept %v (-want +got):\n%s", kept, diff)
	}
	// Only samples without any labels are dropped; a target has other rules to come.
	all := rules(t, "- {regex: '.*', action: labeldrop}")
	if steps, kept := Relabel(labels.NewBuilder(labels.FromStrings("a", "x")), all); !kept || steps[0].Dropped {
		t.Error("a set that lost all labels is told as dropped")
	}
	if got := dropper(labels.NewBuilder(labels.FromStrings("a", "x")), all); got != 0 {
		t.Errorf("a sample that lost all labels is dropped by rule index %d", got)
	}
}
