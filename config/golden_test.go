// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// options are the options that the first comment of a test file asks for.
func options(t *testing.T, path string) Options {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return Options{
		RequiredLabels:       []string{"clustername", "environment"},
		IgnoreServerSections: strings.Contains(first, "ignore-server-sections"),
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	got = strings.ReplaceAll(got, dir+string(filepath.Separator), "") + "\n"
	if os.Getenv("UPDATE_GOLDEN") != "" { // make golden
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run make golden if this is meant (-want +got):\n%s", diff)
	}
}

// TestBad loads every bad-*.yaml and compares what is said about it with the text file beside it.
func TestBad(t *testing.T) {
	t.Setenv("TB_EMPTY", "")
	files, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := Load(path, options(t, path))
			var found Violations
			if !errors.As(err, &found) {
				t.Fatalf("got error %v, want Violations", err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", found.Error())
		})
	}
}

// TestGood loads every good-*.yaml and compares its hints with the text file beside it.
func TestGood(t *testing.T) {
	t.Setenv("CLUSTER", "aks-one")
	t.Setenv("NODE_NAME", "node-7")
	files, err := filepath.Glob("testdata/good-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			cfg, err := Load(path, options(t, path))
			if err != nil {
				t.Fatal(err)
			}
			for _, label := range cfg.MandatoryLabels() {
				if label.Value == "" {
					t.Errorf("label %s is empty", label.Name)
				}
			}
			if jobs, err := cfg.Prometheus.GetScrapeConfigs(); err != nil || len(jobs) != len(cfg.Prometheus.ScrapeConfigs) {
				t.Errorf("GetScrapeConfigs: %d jobs, %v", len(jobs), err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", cfg.Hints.Error())
		})
	}
}
