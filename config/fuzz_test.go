// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func seed(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(secretsText)
}

// FuzzParse checks that no text makes Parse panic, and that a config it takes says whose samples it sends, and where to.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		opts := required()
		opts.IgnoreServerSections = true
		cfg, err := Parse(&Source{Main: File{"/c.yaml", text}}, opts)
		if err != nil {
			var found Violations
			if !errors.As(err, &found) || len(found) == 0 {
				t.Errorf("got %v, want Violations", err)
			}
			for _, v := range found {
				if v.File == "" || v.Problem == "" || v.Remedy == "" || strings.Contains(v.String(), "\n") {
					t.Errorf("got violation %+v", v)
				}
				if v.Line < 0 || v.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
					t.Errorf("line %d is outside of the file: %s", v.Line, v)
				}
			}
			return
		}
		for _, label := range cfg.MandatoryLabels() {
			if strings.TrimSpace(label.Value) == "" || cfg.Prometheus.GlobalConfig.ExternalLabels.Get(label.Name) != label.Value {
				t.Errorf("label %q has value %q", label.Name, label.Value)
			}
		}
		if len(cfg.Agent.RequiredLabels) < 2 && !strings.Contains(text, "required_labels") {
			t.Errorf("required labels are %v", cfg.Agent.RequiredLabels)
		}
		if len(cfg.Prometheus.RemoteWriteConfigs) == 0 {
			t.Error("there is no remote_write")
		}
		if _, err := cfg.Prometheus.GetScrapeConfigs(); err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(cfg.String(), "#") {
			t.Error("the config cannot be shown")
		}
	})
}

// FuzzEmit checks that emitted text means what the original meant, whenever Prometheus's YAML parser takes that at all.
func FuzzEmit(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		doc, found := parseDocument(File{"/c.yaml", text})
		if doc == nil || found != nil || strings.Contains(text, "<<") {
			return // A merge key may be written before what it gives way to; yaml.v2 takes the order of the file.
		}
		if strings.Contains(strings.ReplaceAll(text, "!!", ""), "!") {
			return // yaml.v3 does not tell that a value has the tag "!", which makes it a text.
		}
		want, err := meaning(text)
		if err != nil {
			return
		}
		if want == nil {
			want = map[any]any{}
		}
		out := emit(doc.root).text.String()
		if out == "" {
			out = "{}"
		}
		got, err := meaning(out)
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s\n%s", err, diff, out)
		}
	})
}
