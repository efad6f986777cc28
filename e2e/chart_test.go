// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestChart renders every example with the real helm: as the golden file says, without a complaint of the linter, of a
// strict decoder, or of the agent that reads the config.
func TestChart(t *testing.T) {
	for name, values := range chartValues(t) {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, "--values", values)
			golden(t, filepath.Join("testdata", "chart", name+".yaml"), rendered)
			objects := decode(t, rendered)

			if out, problems, err := helm(t, "lint", "--strict", chartDir, "--values", values); err != nil {
				t.Errorf("helm lint: %v\n%s%s", err, out, problems)
			}
			config := agentConfig(objects)
			if config == "" {
				if name != "own-configmap" {
					t.Error("no config was rendered")
				}
				return
			}
			file := filepath.Join(t.TempDir(), "torchbearer.yaml")
			writeFile(t, file, config)
			if code, output := runToEnd(t, "check", "config", "--syntax-only", file); code != 0 {
				t.Errorf("the agent refuses the config:\n%s", output)
			}
			sharesWatches(t, parseConfig(t, config))
		})
	}
}

// golden compares with a golden file; UPDATE_GOLDEN=1 writes it anew.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, got)
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (UPDATE_GOLDEN=1 writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it anew), -want +got:\n%s", file, diff)
	}
}

// sharesWatches wants one discovery for all jobs of the own node's pods, and one for those of the node: what is equal is
// watched once. Jobs that a user wrote are their business.
func sharesWatches(t *testing.T, config scrapeConfig) {
	t.Helper()
	for _, job := range config.Jobs {
		if config.Agent.Scopes[job.JobName] == "cluster" || len(job.Discoveries) == 0 {
			continue
		}
		role, _ := job.Discoveries[0]["role"].(string)
		if (role == "pod" || role == "node") && (len(job.Discoveries) != 1 || len(job.Discoveries[0]) != 1) {
			t.Errorf("job %s has a discovery of its own: %v", job.JobName, job.Discoveries)
		}
	}
}

// TestChartNotes wants the text after an install to say where the samples go.
func TestChartNotes(t *testing.T) {
	for name, values := range chartValues(t) {
		t.Run(name, func(t *testing.T) {
			out, problems, err := helm(t, "install", "agent", chartDir, "--namespace", "monitoring", "--dry-run=client", "--values", values)
			if err != nil {
				t.Fatalf("%v\n%s", err, problems)
			}
			_, notes, _ := strings.Cut(out, "NOTES:")
			wants := []string{"daemonset/agent-torchbearer", "get lease agent-torchbearer"}
			if name == "community" {
				wants = append(wants, `clustername="Test01", environment="Test"`, "https://prometheus-server.example.com/api/v1/write")
			}
			for _, want := range wants {
				if !strings.Contains(notes, want) {
					t.Errorf("the notes lack %q:\n%s", want, notes)
				}
			}
		})
	}
}

// TestChartVersion keeps the chart's version with that of the program.
func TestChartVersion(t *testing.T) {
	version, err := os.ReadFile("../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"version", "appVersion"} {
		if line := field + ": " + strings.TrimSpace(string(version)) + "\n"; !strings.Contains("\n"+string(chart), "\n"+line) {
			t.Errorf("Chart.yaml lacks the line %q", line)
		}
	}
}

// TestChartReadmeNamesAllValues finds a value that nobody explains.
func TestChartReadmeNamesAllValues(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chartDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	values, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(values)) {
		name, _, found := strings.Cut(strings.TrimPrefix(line, "# "), ":")
		if found && !strings.ContainsAny(name, " -#/`") && !strings.Contains(string(readme), "`"+name) {
			t.Errorf("README.md does not explain the value %s", name)
		}
	}
}

// TestChartRBAC holds the rules against what must never be among them.
func TestChartRBAC(t *testing.T) {
	for name, values := range chartValues(t) {
		t.Run(name, func(t *testing.T) {
			for _, object := range decode(t, render(t, "--values", values)) {
				var rules []rbacv1.PolicyRule
				switch o := object.(type) {
				case *rbacv1.ClusterRole:
					rules = o.Rules
				case *rbacv1.Role:
					rules = o.Rules
				}
				for _, rule := range rules {
					checkRule(t, rule)
				}
			}
		})
	}
}

func checkRule(t *testing.T, rule rbacv1.PolicyRule) {
	t.Helper()
	for _, resource := range rule.Resources {
		if slices.Contains([]string{"*", "secrets", "configmaps", "nodes/proxy", "pods/exec", "pods/log"}, resource) {
			t.Errorf("a rule for %s: %v", resource, rule)
		}
	}
	if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.APIGroups, "*") {
		t.Errorf("a rule with *: %v", rule)
	}
	if slices.Equal(rule.Resources, []string{"leases"}) {
		if !slices.Equal(rule.Verbs, []string{"create"}) && len(rule.ResourceNames) != 1 {
			t.Errorf("a rule for all leases: %v", rule)
		}
		return
	}
	if writes := slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool {
		return slices.Contains([]string{"get", "list", "watch"}, verb)
	}); len(writes) > 0 {
		t.Errorf("a rule that writes: %v", rule)
	}
}

// TestChartPodSecurity holds the pods against the Pod Security standard "restricted": with an emptyDir they keep all of
// it, with a hostPath all but the volume and the container that prepares it.
func TestChartPodSecurity(t *testing.T) {
	for name, values := range chartValues(t) {
		t.Run(name, func(t *testing.T) {
			for _, object := range decode(t, render(t, "--values", values)) {
				switch o := object.(type) {
				case *appsv1.DaemonSet:
					checkPod(t, o.Spec.Template.Spec, name == "restricted", name == "own-configmap")
				case *appsv1.Deployment:
					checkPod(t, o.Spec.Template.Spec, true, false)
				}
			}
		})
	}
}

func checkPod(t *testing.T, pod corev1.PodSpec, restricted, hostNetwork bool) {
	t.Helper()
	if pod.HostNetwork != hostNetwork || pod.HostPID || pod.HostIPC {
		t.Errorf("the pod is in namespaces of the host")
	}
	context := pod.SecurityContext
	if context == nil || context.RunAsNonRoot == nil || !*context.RunAsNonRoot || context.RunAsUser == nil || *context.RunAsUser == 0 ||
		context.SeccompProfile == nil || context.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context: %v", context)
	}
	for _, container := range pod.Containers {
		c := container.SecurityContext
		if c == nil || c.AllowPrivilegeEscalation == nil || *c.AllowPrivilegeEscalation || c.Privileged != nil ||
			c.ReadOnlyRootFilesystem == nil || !*c.ReadOnlyRootFilesystem ||
			c.RunAsUser != nil || c.Capabilities == nil || len(c.Capabilities.Add) > 0 || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("the security context of %s: %v", container.Name, c)
		}
	}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil && (restricted || volume.Name != "data") {
			t.Errorf("the volume %s is a path of the host", volume.Name)
		}
	}
	if restricted == (len(pod.InitContainers) > 0) {
		t.Errorf("init containers: %d", len(pod.InitContainers))
	}
}
