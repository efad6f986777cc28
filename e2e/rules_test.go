// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"torchbearer/e2e/process"
)

const (
	rulesFolder = "../deploy/central/rules"
	rulesFile   = "torchbearer.yml"
)

// A rule is one of a rule file.
type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// ruleGroups is a rule file.
type ruleGroups struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

// readRules reads a rule file of deploy/central.
func readRules(t *testing.T, name string) (text string, groups ruleGroups) {
	t.Helper()
	text = readDeploy(t, "central/rules/"+name)
	if err := yaml.Unmarshal([]byte(text), &groups); err != nil {
		t.Fatal(err)
	}
	return text, groups
}

// alertsOf are the alerts of a rule file by name.
func alertsOf(t *testing.T, groups ruleGroups) map[string]rule {
	t.Helper()
	alerts := map[string]rule{}
	for _, group := range groups.Groups {
		for _, r := range group.Rules {
			if r.Alert != "" {
				alerts[r.Alert] = r
			}
		}
	}
	if len(alerts) == 0 {
		t.Fatal("the rule file has no alert")
	}
	return alerts
}

// promtool runs it in a folder of the repository and returns what it says; it has to be content.
func promtool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path, err := process.Neighbour("promtool")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// TestRulesPass has promtool check the rules and the configs that load them, and run the rules' unit tests.
func TestRulesPass(t *testing.T) {
	t.Parallel()
	promtool(t, rulesFolder, "check", "rules", "--lint=all", "--lint-fatal", rulesFile, "expected-prod.yml", "expected-nonprod.yml")
	for _, env := range []string{prod, nonprod} {
		output := promtool(t, "../deploy/central", "check", "config", "prometheus-"+env+".yml")
		for _, file := range []string{rulesFile, "expected-" + env + ".yml"} {
			if !strings.Contains(output, "Checking rules/"+file) {
				t.Errorf("prometheus-%s.yml does not load %s:\n%s", env, file, output)
			}
		}
	}
	if output := promtool(t, rulesFolder, "test", "rules", "torchbearer_test.yml"); !strings.Contains(output, "SUCCESS") {
		t.Errorf("promtool did not test the rules:\n%s", output)
	}
}

// TestRulesAreTested looks for one unit test of each alert that fires it, and one that does not.
func TestRulesAreTested(t *testing.T) {
	t.Parallel()
	_, groups := readRules(t, rulesFile)
	var suite struct {
		GroupEvalOrder []string `yaml:"group_eval_order"`
		Tests          []struct {
			Name   string
			Alerts []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(readDeploy(t, "central/rules/torchbearer_test.yml")), &suite); err != nil {
		t.Fatal(err)
	}
	for _, group := range groups.Groups {
		if !slices.Contains(suite.GroupEvalOrder, group.Name) {
			t.Errorf("group_eval_order does not have group %s: the order of its evaluation is by chance", group.Name)
		}
	}
	fired, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range suite.Tests {
		for _, alert := range test.Alerts {
			if len(alert.ExpAlerts) > 0 {
				fired[alert.Alertname] = true
			} else {
				quiet[alert.Alertname] = true
			}
		}
	}
	for name := range alertsOf(t, groups) {
		if !fired[name] || !quiet[name] {
			t.Errorf("alert %s: a unit test that fires it: %t, one that does not: %t", name, fired[name], quiet[name])
		}
	}
}

// TestRulesAndRunbook compares the alerts with the sections of the runbook, both ways, and looks for what each has to say.
func TestRulesAndRunbook(t *testing.T) {
	t.Parallel()
	_, groups := readRules(t, rulesFile)
	runbook := readDeploy(t, "central/RUNBOOK.md")
	sections := map[string]string{}
	for _, part := range strings.Split(runbook, "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		sections[title] = text
	}
	alerts := alertsOf(t, groups)
	for title, text := range sections {
		if _, ok := alerts[title]; strings.HasPrefix(title, "Torchbearer") && !ok {
			t.Errorf("the runbook has a section %s, and there is no such alert", title)
		}
		if !strings.HasPrefix(title, "Torchbearer") {
			continue
		}
		for _, part := range []string{"**Means**", "**How bad**", "**Look**", "**Do**", "**Silence**"} {
			if !strings.Contains(text, part) {
				t.Errorf("the runbook's section %s does not have %s", title, part)
			}
		}
	}
	readme := readDeploy(t, "central/README.md")
	anchor := regexp.MustCompile(`^https://\S+/deploy/central/RUNBOOK\.md#(\S+)$`)
	for name, alert := range alerts {
		if _, ok := sections[name]; !ok {
			t.Errorf("the runbook has no section %s", name)
		}
		after := cmp.Or(alert.For, "at once")
		listed := regexp.MustCompile(`\[` + name + `\]\(RUNBOOK\.md#\w+\) \|.*\| ` + after + ` \| ` + alert.Labels["severity"])
		if !listed.MatchString(readme) {
			t.Errorf("README.md does not list alert %s (%s, %s)", name, after, alert.Labels["severity"])
		}
		if m := anchor.FindStringSubmatch(alert.Annotations["runbook_url"]); m == nil || m[1] != strings.ToLower(name) {
			t.Errorf("alert %s: its runbook_url is %q", name, alert.Annotations["runbook_url"])
		}
		if !slices.Contains([]string{"critical", "warning"}, alert.Labels["severity"]) {
			t.Errorf("alert %s: its severity is %q", name, alert.Labels["severity"])
		}
		for _, annotation := range []string{"summary", "description"} {
			if text := alert.Annotations[annotation]; !strings.HasSuffix(text, ".") || !strings.Contains(text, "$labels.clustername") {
				t.Errorf("alert %s: its %s is no sentence about a cluster: %q", name, annotation, text)
			}
		}
	}
}
