// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// markdown is the Markdown files of the repository, by their paths.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
				return fs.SkipDir // .git and .cache are not ours to mend.
			}
			return err
		}
		if filepath.Ext(path) == ".md" {
			text, err := os.ReadFile(path)
			files[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil || files["../README.md"] == "" {
		t.Fatalf("read the documents: %v, %d found", err, len(files))
	}
	return files
}

// anchors are those that the headings of a document get.
func anchors(text string) []string {
	var found []string
	unlisted := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, heading := range regexp.MustCompile(`(?m)^#{1,6} +(.+)$`).FindAllStringSubmatch(withoutCode(text), -1) {
		plain := regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(heading[1], "$1")
		anchor := strings.ReplaceAll(unlisted.ReplaceAllString(strings.ToLower(plain), ""), " ", "-")
		unique := anchor
		for n := 1; slices.Contains(found, unique); n++ {
			unique = fmt.Sprintf("%s-%d", anchor, n)
		}
		found = append(found, unique)
	}
	return found
}

// withoutCode takes out blocks of code, in which # and [ mean something else.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(text, "")
}

func TestLinksOfDocuments(t *testing.T) {
	files, checked := markdown(t), 0
	for path, text := range files {
		prose := regexp.MustCompile("`[^`\n]*`").ReplaceAllString(withoutCode(text), "")
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(prose, -1) {
			to, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			checked++
			target := path
			if to != "" {
				target = filepath.Join(filepath.Dir(path), to)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: there is nothing at the link (%s)", path, link[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(files[target]), anchor) {
				t.Errorf("%s: the link (%s) has an anchor that %s does not have; it has %v", path, link[1], target, anchors(files[target]))
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found: the search for them is broken", checked)
	}
}

// TestDocumentsNameMetricsThatExist holds the names of metrics in documents and rules against the metrics reference.
func TestDocumentsNameMetricsThatExist(t *testing.T) {
	reference, err := os.ReadFile("../agent/METRICS.md")
	if err != nil {
		t.Skipf("without the metrics reference: %v", err)
	}
	texts := markdown(t)
	for _, pattern := range []string{"../deploy/central/rules/*.yml", "../deploy/central/dashboards/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	known := regexp.MustCompile(`\b(torchbearer|prometheus)_[a-z0-9_]+\b`).FindAllString(string(reference), -1)
	// What the rules record has names with colons; the file of their tests is none.
	notMetrics := regexp.MustCompile(`\b[a-z]+:torchbearer_[a-z0-9_]+:[a-z]+\b|\btorchbearer_test\b`)
	metric := regexp.MustCompile(`\btorchbearer_[a-z0-9_]+[a-z0-9]\b`)
	for path, text := range texts {
		for _, name := range metric.FindAllString(notMetrics.ReplaceAllString(text, ""), -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !slices.Contains(known, name) && !slices.Contains(known, base) {
				t.Errorf("%s names the metric %s, which agent/METRICS.md does not have", path, name)
			}
		}
	}
}

// TestSecurityNamesEveryRule holds SECURITY.md against the RBAC that the chart makes with its own values.
func TestSecurityNamesEveryRule(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules []rbacv1.PolicyRule
	for _, object := range decode(t, render(t, "--set", "clusterName=a,environment=b,remoteWrite[0].url=https://central/api/v1/write")) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			rules = append(rules, o.Rules...)
		case *rbacv1.Role:
			rules = append(rules, o.Rules...)
		}
	}
	if len(rules) < 5 {
		t.Fatalf("the chart makes %d rules", len(rules))
	}
	for _, rule := range rules {
		for _, what := range append(slices.Clone(rule.Resources), rule.NonResourceURLs...) {
			row := fmt.Sprintf("(?m)^\\|[^|]*\\|[^|]*`%s`[^|]*\\| %s \\|", regexp.QuoteMeta(what), strings.Join(rule.Verbs, ", "))
			if !regexp.MustCompile(row).Match(text) {
				t.Errorf("SECURITY.md has no row for the rule that lets the agent %s %s %v", strings.Join(rule.Verbs, ", "), what, rule.ResourceNames)
			}
		}
	}
}
