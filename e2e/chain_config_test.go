// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"torchbearer/e2e/process"
)

// documents reads all documents of a YAML text.
func documents(t *testing.T, name, text string) []map[string]any {
	t.Helper()
	reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	var all []map[string]any
	for {
		one, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		document := map[string]any{}
		if err := yaml.Unmarshal(one, &document); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, document)
	}
}

func deployed(t *testing.T, path string) map[string]any {
	t.Helper()
	return documents(t, path, readDeploy(t, path))[0]
}

// at follows keys down a document.
func at(document any, keys ...string) any {
	for _, key := range keys {
		below, ok := document.(map[string]any)
		if !ok {
			return nil
		}
		document = below[key]
	}
	return document
}

// TestCentralValues: the chart's values and the plain file, which the chain is tested with, say the same of a central.
func TestCentralValues(t *testing.T) {
	t.Parallel()
	for env, port := range map[string]string{prod: "9090", nonprod: "9091"} {
		values := deployed(t, "central/values-"+env+".yaml")
		file := deployed(t, "central/prometheus-"+env+".yml")
		job := at(values, "scrapeConfigs", "prometheus").(map[string]any)
		delete(job, "enabled")
		job["job_name"] = "prometheus"
		// On one machine the two need a port each.
		job["static_configs"].([]any)[0].(map[string]any)["targets"] = []any{"localhost:" + port}
		// The chart names the files by keys, which --set-file gives a content.
		var rules []any
		for _, set := range regexp.MustCompile(`ruleFiles\.(\w+)\\\.yml=(rules/[\w-]+\.yml)`).FindAllStringSubmatch(readDeploy(t, "central/values-"+env+".yaml"), -1) {
			rules = append(rules, set[2])
			if loaded, ok := at(values, "serverFiles", "prometheus.yml", "rule_files").([]any); !ok || !slices.Contains(loaded, any("/etc/config/"+set[1]+".yml")) {
				t.Errorf("the values of %s set the rules %s, and do not load them", env, set[1])
			}
		}
		// What the chart's template makes of the values.
		rendered := map[string]any{
			"global": at(values, "server", "global"), "storage": map[string]any{"tsdb": at(values, "server", "tsdb")},
			"remote_write": at(values, "server", "remoteWrite"), "remote_read": at(values, "server", "remoteRead"),
			"scrape_configs": []any{job}, "rule_files": rules,
		}
		if diff := cmp.Diff(file, rendered); diff != "" {
			t.Errorf("the plain file and the chart's values of %s differ:\n%s", env, diff)
		}
		host := map[string]any{prod: promURL, nonprod: promURLNonprod}[env]
		if got := at(values, "server", "ingress", "hosts").([]any)[0]; "https://"+got.(string) != host {
			t.Errorf("the ingress of %s is for %v, and nginx.conf for %s", env, got, host)
		}
	}
}

// TestDeployParses: every YAML file of deploy outside of the chart's templates is YAML.
func TestDeployParses(t *testing.T) {
	t.Parallel()
	n := 0
	err := filepath.WalkDir("../deploy/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "/templates/") || !strings.HasSuffix(path, "ml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		documents(t, path, string(text))
		n++
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d files, %v", n, err)
	}
}

// TestManifests: the objects that are applied as they stand have no field that Kubernetes does not know.
func TestManifests(t *testing.T) {
	t.Parallel()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for path, want := range map[string]int{"kind/central.yaml": 4, "central/influxdb.yaml": 3} {
		reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(readDeploy(t, path))))
		n := 0
		for ; ; n++ {
			one, err := reader.Read()
			if err != nil {
				break // The end.
			}
			if _, _, err := decoder.Decode(one, nil, nil); err != nil {
				t.Errorf("%s, object %d: %v", path, n+1, err)
			}
		}
		if n != want {
			t.Errorf("%s has %d objects, want %d", path, n, want)
		}
	}
}

// TestFederationConfig: the agent takes the file as it stands, without a hint.
func TestFederationConfig(t *testing.T) {
	t.Parallel()
	if code, output := runToEnd(t, "check", "config", "--lint", "../deploy/central/federation.yaml"); code != 0 {
		t.Errorf("exit code is %d:\n%s", code, output)
	}
}

// TestFleet renders the chart for every cluster of deploy/fleet as both tools would.
func TestFleet(t *testing.T) {
	t.Parallel()
	helm, err := process.Neighbour("helm")
	if err != nil {
		t.Fatal(err)
	}
	clusters := deployed(t, "fleet/clusters.yaml")["clusters"].([]any)
	elements := at(deployed(t, "fleet/applicationset.yaml"), "spec", "generators").([]any)[0].(map[string]any)
	if got := at(elements, "list", "elements").([]any); len(got) != len(clusters) {
		t.Errorf("the ApplicationSet has %d clusters, clusters.yaml %d", len(got), len(clusters))
	}
	releases := helmfile(t)["releases"].([]any)
	if len(releases) != len(clusters) {
		t.Fatalf("the helmfile has %d releases, clusters.yaml %d clusters", len(releases), len(clusters))
	}
	for i, one := range clusters {
		name, env := at(one, "name").(string), at(one, "environment").(string)
		args := []string{"template", "torchbearer", "../deploy/helm/torchbearer", "--namespace=torchbearer", "--set=clusterName=" + name}
		for _, values := range at(releases[i], "values").([]any) {
			file, ok := values.(string)
			if !ok {
				continue
			}
			if _, err := os.Stat("../deploy/fleet/" + file); err == nil {
				args = append(args, "--values=../deploy/fleet/"+file)
			}
		}
		output, err := exec.CommandContext(t.Context(), helm, args...).CombinedOutput()
		if err != nil {
			t.Errorf("cluster %s: %v\n%s", name, err, output)
			continue
		}
		config := filepath.Join(t.TempDir(), "torchbearer.yaml")
		for _, object := range documents(t, name, string(output)) {
			if object["kind"] == "ConfigMap" {
				writeFile(t, config, at(object, "data", "torchbearer.yaml").(string))
			}
		}
		code, told := runToEnd(t, "check", "config", "--syntax-only", config)
		if code != 0 || !strings.Contains(told, `clustername="`+name+`"`) || !strings.Contains(told, `environment="`+env+`"`) {
			t.Errorf("cluster %s of %s: exit code %d\n%s", name, env, code, told)
		}
	}
}

// helmfile executes the template as helmfile does.
func helmfile(t *testing.T) map[string]any {
	t.Helper()
	functions := template.FuncMap{
		"readFile": func(name string) string { return readDeploy(t, "fleet/"+name) },
		"fromYaml": func(text string) map[string]any { return documents(t, "clusters.yaml", text)[0] },
	}
	parsed, err := template.New("").Funcs(functions).Parse(readDeploy(t, "fleet/helmfile.yaml.gotmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var rendered bytes.Buffer
	if err := parsed.Execute(&rendered, nil); err != nil {
		t.Fatal(err)
	}
	return documents(t, "helmfile.yaml.gotmpl", rendered.String())[0]
}
