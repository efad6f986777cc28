// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"torchbearer/e2e/process"
)

// chartDir is the chart under test.
const chartDir = "../deploy/helm/torchbearer"

// helm runs the real helm, without the configuration of whoever runs the test.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := process.Neighbour("helm")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	var out, problems bytes.Buffer
	c := exec.CommandContext(t.Context(), path, args...)
	c.Env = []string{"HOME=" + home, "KUBECONFIG=" + os.DevNull}
	c.Stdout, c.Stderr = &out, &problems
	err = c.Run()
	return out.String(), problems.String(), err
}

// render gives what an install of the chart with these arguments makes.
func render(t *testing.T, args ...string) string {
	t.Helper()
	out, problems, err := helm(t, append([]string{"template", "agent", chartDir, "--namespace", "monitoring"}, args...)...)
	if err != nil {
		t.Fatalf("helm template %v: %v\n%s", args, err, problems)
	}
	return out
}

// chartValues are the chart's example values: file by name.
func chartValues(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example values: %v", err)
	}
	byName := map[string]string{}
	for _, file := range files {
		byName[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	return byName
}

// decode reads rendered objects as the API server does with strict field validation: an unknown or a repeated field is
// an error.
func decode(t *testing.T, rendered string) []runtime.Object {
	t.Helper()
	serializer := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme,
		json.SerializerOptions{Yaml: true, Strict: true})
	var objects []runtime.Object
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		document = strings.TrimPrefix(document, "---\n")
		if !strings.Contains(document, "kind:") {
			continue
		}
		object, _, err := serializer.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("decode: %v\n%s", err, document)
		}
		objects = append(objects, object)
	}
	return objects
}

// agentConfig is the agent's config among the rendered objects, or nothing where the values name another ConfigMap.
func agentConfig(objects []runtime.Object) string {
	for _, object := range objects {
		if c, ok := object.(*corev1.ConfigMap); ok && c.Data["torchbearer.yaml"] != "" {
			return c.Data["torchbearer.yaml"]
		}
	}
	return ""
}

// scrapeJob is the part of a scrape job that the tests look at.
type scrapeJob struct {
	JobName     string           `json:"job_name"`
	Discoveries []map[string]any `json:"kubernetes_sd_configs"`
	Relabeling  []relabelRule    `json:"relabel_configs"`
}

type relabelRule struct {
	SourceLabels []string `json:"source_labels"`
	Regex        *string  `json:"regex"`
	TargetLabel  string   `json:"target_label"`
	Replacement  *string  `json:"replacement"`
	Action       string   `json:"action"`
}

type scrapeConfig struct {
	Agent struct {
		Scopes map[string]string `json:"scopes"`
	} `json:"agent"`
	Jobs []scrapeJob `json:"scrape_configs"`
}

func parseConfig(t *testing.T, config string) scrapeConfig {
	t.Helper()
	var c scrapeConfig
	if err := yaml.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	return c
}
