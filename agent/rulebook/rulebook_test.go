// SPDX-License-Identifier: Apache-2.0

package rulebook

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/agent/status"
)

func rule(action relabel.Action, regex, target string, source ...string) *relabel.Config {
	r := relabel.DefaultRelabelConfig
	r.Action, r.TargetLabel, r.NameValidationScheme = action, target, model.UTF8Validation
	if regex != "" {
		r.Regex = relabel.MustNewRegexp(regex)
	}
	for _, name := range source {
		r.SourceLabels = append(r.SourceLabels, model.LabelName(name))
	}
	return &r
}

// TestOutcomeIsTheLibrarys: labels come out as the library makes them, and each
// that was dropped is counted at one rule.
func TestOutcomeIsTheLibrarys(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names, regexes := []string{"a", "b", "c", "__name__"}, []string{"", "x", "x|y", "x.*", "a|b", ".+"}
	actions := []relabel.Action{
		relabel.Keep, relabel.Drop, relabel.Replace, relabel.LabelDrop, relabel.LabelKeep, relabel.LabelMap,
		relabel.KeepEqual, relabel.DropEqual, relabel.Lowercase, relabel.Uppercase,
	}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	for range 500 {
		var rules []*relabel.Config
		for range random.IntN(5) {
			r := rule(actions[random.IntN(len(actions))], pick(regexes), pick(names), pick(names))
			if r.Action == relabel.LabelMap {
				r.Replacement = pick(names)
			}
			rules = append(rules, r)
		}
		book := New(rules)
		pass := book.Pass()
		kept, dropped := 0, 0
		for range 20 {
			ls := labels.FromStrings("a", pick([]string{"x", "y", "xy", ""}), "b", pick([]string{"x", "Z"}), "__name__", "x")
			want, got := labels.NewBuilder(ls), labels.NewBuilder(ls)
			keep := relabel.ProcessBuilder(want, rules...)
			if pass.Process(got, ls.String) != keep {
				t.Fatalf("%s by %s is kept: %v", ls, texts(rules), !keep)
			}
			if keep {
				kept++
				if !labels.Equal(want.Labels(), got.Labels()) {
					t.Fatalf("%s by %s becomes %s, want %s", ls, texts(rules), got.Labels(), want.Labels())
				}
			} else {
				dropped++
			}
		}
		pass.Count()
		sum, seen := 0, 20
		for _, r := range book.Report() {
			if r.Seen != seen || r.Matched > r.Seen {
				t.Fatalf("%s: rule %d saw %d, want %d, and matched %d", texts(rules), r.Rule, r.Seen, seen, r.Matched)
			}
			seen -= r.Dropped
			sum += r.Dropped
		}
		if sum != dropped || seen != kept {
			t.Fatalf("%s dropped %d and kept %d, the rules tell %d and %d", texts(rules), dropped, kept, sum, seen)
		}
	}
}

func texts(rules []*relabel.Config) string {
	var all []string
	for _, r := range rules {
		all = append(all, Text(r))
	}
	return strings.Join(all, "; ")
}

func TestSuspect(t *testing.T) {
	ls := labels.FromStrings("__meta_pod_name", "web-1", "__meta_pod_annotation_scrape", "true", "app", "x")
	for _, c := range []struct {
		rule                *relabel.Config
		level, kind, remedy string // "" is nothing
	}{
		{rule(relabel.Keep, "web-.*", "", "__meta_pod_name"), "", "", ""},
		{rule(relabel.Drop, "web-.*", "", "__meta_pod_name"), "", "", ""},
		{rule(relabel.Keep, "web", "", "__meta_pod_name"), status.LevelWarning, kindAnchored, ".*(web).*"},
		{rule(relabel.Drop, "web", "", "__meta_pod_name"), status.LevelHint, kindAnchored, ".*(web).*"},
		{rule(relabel.Drop, "other", "", "__meta_pod_name"), status.LevelHint, kindIdle, ""},
		{rule(relabel.Keep, "other", "", "__meta_pod_name"), status.LevelWarning, kindDropsAll, ""},
		{rule(relabel.Replace, "(.+)", "pod", "__meta_pod_nane"), status.LevelWarning, kindMissing, "__meta_pod_name"},
		{rule(relabel.Replace, "(.+)", "pod", "__meta_node_name_of_it"), status.LevelHint, kindMissing, "correct"},
		{rule(relabel.Replace, "(.+)", "path", "__meta_pod_annotation_of_nobody"), "", "", ""},
		{rule(relabel.Keep, "true", "", "__meta_pod_annotation_of_nobody"), status.LevelWarning, kindMissing, "correct"},
		{rule(relabel.Replace, "(.+)", "path", "__meta_pod_annotation_scarpe"), status.LevelWarning, kindMissing, "__meta_pod_annotation_scrape"},
		{rule(relabel.LabelMap, "__meta_pods_(.+)", ""), status.LevelHint, kindIdle, ""},
		{rule(relabel.LabelMap, "__meta_pod_(.+)", ""), "", "", ""},
		{rule(relabel.Replace, "", "job"), "", "", ""},
	} {
		book := New([]*relabel.Config{c.rule})
		pass := book.Pass()
		pass.Process(labels.NewBuilder(ls), ls.String)
		pass.Count()
		found := book.Suspect("job", "relabel_configs", "targets")
		if c.kind == "" && len(found) == 0 {
			continue
		}
		if len(found) != 1 || found[0].Level != c.level || found[0].Kind != c.kind || !strings.Contains(found[0].Remedy, c.remedy) {
			t.Errorf("%s: found %+v, want %s %s %q", Text(c.rule), found, c.level, c.kind, c.remedy)
		}
	}
	if found := New([]*relabel.Config{rule(relabel.Keep, "x", "", "nothing")}).Suspect("", "", ""); len(found) > 0 {
		t.Errorf("a rule that nothing has reached is suspected: %v", found)
	}
}

// TestWhatIsNotCountedLeavesNoTrace: a pass that is given up is not in the report.
func TestWhatIsNotCountedLeavesNoTrace(t *testing.T) {
	book := New([]*relabel.Config{rule(relabel.Drop, "x", "", "a")})
	before := book.Report()
	book.Pass().Process(labels.NewBuilder(labels.FromStrings("a", "x")), func() string { return "example" })
	if diff := cmp.Diff(before, book.Report()); diff != "" {
		t.Error(diff)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü <b>":                 "plain ü <b>",
		"\x1b[2J":                     "\uFFFD[2J",
		"\u009b31m\u202eabc":          "\uFFFD31m\uFFFDabc",
		"a\nb\x00\xff":                "a\uFFFDb\uFFFD\uFFFD",
		strings.Repeat("ü", 60):       strings.Repeat("ü", 50) + "…",
		strings.Repeat("a", 99) + "ü": strings.Repeat("a", 99) + "\uFFFD…",
		// A part of a secret is none the less one.
		strings.Repeat("a", 82) + " http://u:hunter2@b": strings.Repeat("a", 82) + " http://u:<secret>…",
	} {
		if got := Clip(in, 100); got != want {
			t.Errorf("Clip(%q) is %q, want %q", in, got, want)
		}
	}
	if got := Clip(fmt.Sprint([]rune{0x200d, 0xfeff})+"\u200d\ufeff", 100); strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("invisible characters are left in %q", got)
	}
}
