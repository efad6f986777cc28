// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
)

// The images that the node of the test's cluster knows.
const (
	agentImage  = "docker.io/library/torchbearer" // what the chart's default names, without tag
	targetImage = "docker.io/local/target:1"
	nextTag     = "next"
)

// An installation is a whole cluster, a Prometheus as central in it, and what the chart put there.
type installation struct {
	*kube.Cluster
	central string // URL of the central Prometheus, from here
	write   string // its URL for remote write, from inside
	chart   string // absolute path
	values  []string
}

// TestInstall installs the chart by helm into a real cluster, with pods of which every job finds one, and goes on with
// it: reloads, restarts, an upgrade.
func TestInstall(t *testing.T) {
	i := startInstallation(t)
	version := strings.TrimSpace(readFile(t, "../VERSION"))
	importAgent(t, i.Cluster, version)
	importAgent(t, i.Cluster, nextTag)
	importTarget(t, i.Cluster)
	startNeighbours(t, i)

	t.Run("strict validation", func(t *testing.T) { wantAccepted(t, i) })
	i.helm(t, "install", "clusterName="+cluster, "environment="+environment, "remoteWrite[0].url="+i.write,
		"scrapeInterval=1s", "configReloadInterval=2s")
	t.Run("every job arrives", func(t *testing.T) { wantJobs(t, i) })
	t.Run("the file is watched", func(t *testing.T) { i.wantWatched(t) })
	t.Run("upgrade", func(t *testing.T) { i.wantUpgrade(t, version) })
	t.Run("POST reload", func(t *testing.T) { i.wantReload(t) })
	t.Run("pod deleted", func(t *testing.T) { i.wantReplaced(t) })
	t.Run("nothing missing", func(t *testing.T) { i.wantNothingMissing(t) })
	t.Run("access", func(t *testing.T) { wantAccessUsed(t, i) })
	t.Run("a Deployment for the cluster scope", func(t *testing.T) { i.wantDivided(t) })
	t.Run("restricted namespace", func(t *testing.T) { i.wantRestricted(t) })
}

func startInstallation(t *testing.T) *installation {
	t.Helper()
	if reason := kube.Missing(); reason != "" {
		t.Skip(reason)
	}
	c, err := kube.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	chart, err := filepath.Abs(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{Cluster: c, chart: chart}
	i.startCentral(t)
	return i
}

// startCentral runs a real Prometheus beside the pods.
func (i *installation) startCentral(t *testing.T) {
	t.Helper()
	path, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	const address = kube.NodeAddress + ":9091"
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, "global: {}\n")
	p, err := i.Program(t.Context(), path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	i.write, i.central = "http://"+address+"/api/v1/write", "http://"+i.reach(t, address)
	until(t, 120*time.Second, "the central Prometheus is ready", func(ctx context.Context) error {
		return process.Answers(ctx, i.central+"/-/ready")
	})
}

// reach makes host:port of the cluster an address of this machine.
func (i *installation) reach(t *testing.T, address string) string {
	t.Helper()
	wire, err := i.StartWireTo(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	})
	return wire.Address()
}

// importAgent imports the program as the image that the Dockerfile makes of it.
func importAgent(t *testing.T, c *kube.Cluster, tag string) {
	t.Helper()
	root := os.DirFS("..")
	if _, err := root.Open("bin/torchbearer"); err != nil {
		t.Fatalf("%v (run make build)", err)
	}
	err := c.Import(t.Context(), kube.Image{
		Name: agentImage + ":" + tag, Entrypoint: []string{"/torchbearer"}, User: "65532:65532", WorkingDir: "/data",
		Files: map[string]string{"/torchbearer": "../bin/torchbearer"}, Folders: []string{"/data"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func importTarget(t *testing.T, c *kube.Cluster) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "target")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", file, "./cluster/target")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the target: %v\n%s", err, out)
	}
	err := c.Import(t.Context(), kube.Image{
		Name: targetImage, Entrypoint: []string{"/target"}, User: "65532:65532", Files: map[string]string{"/target": file},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// neighbours are pods as the jobs of the chart look for them: namespace, name, port, labels, annotations.
const neighbours = `{apiVersion: v1, kind: Pod, metadata: {namespace: %s, name: %s, labels: {%s}, annotations: {%s}},
 spec: {containers: [{name: main, image: ` + targetImage + `, imagePullPolicy: Never, args: [":%d"], ports: [{containerPort: %[5]d}]}]}}
---
`

// startNeighbours runs one pod for each job that looks for pods, and waits until they run.
func startNeighbours(t *testing.T, i *installation) {
	t.Helper()
	annotated := `prometheus.io/scrape: "true", prometheus.io/port: "8080"`
	text := fmt.Sprintf(neighbours, "default", "annotated", "", annotated, 8080) +
		fmt.Sprintf(neighbours, "default", "silent", "", "", 8080) +
		fmt.Sprintf(neighbours, "kube-system", "coredns", "k8s-app: kube-dns", "", 9153) +
		strings.Replace(fmt.Sprintf(neighbours, "kube-system", "exporter", "app.kubernetes.io/name: node-exporter", "", 9100),
			"spec: {", "spec: {hostNetwork: true, ", 1) +
		fmt.Sprintf(neighbours, "kube-system", "state", "app.kubernetes.io/name: kube-state-metrics", "", 8080)
	for _, namespace := range []string{"default", "kube-system"} {
		until(t, 120*time.Second, "the namespace has its service account", func(ctx context.Context) error {
			_, err := i.Client().CoreV1().ServiceAccounts(namespace).Get(ctx, "default", meta.GetOptions{})
			return err
		})
	}
	if _, err := i.Create(t.Context(), text, false); err != nil {
		t.Fatal(err)
	}
	until(t, 120*time.Second, "the neighbours run", func(ctx context.Context) error {
		pods, err := i.Client().CoreV1().Pods("").List(ctx, meta.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.Status.Phase != core.PodRunning {
				return fmt.Errorf("pod %s is %s: %v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
			}
		}
		return nil
	})
}

// wantAccepted has the API server look at everything that the chart renders for its example values.
func wantAccepted(t *testing.T, i *installation) {
	t.Helper()
	for name, values := range chartValues(t) {
		rendered := render(t, "--values", values)
		for _, object := range decode(t, rendered) {
			if named, ok := object.(meta.Object); ok && named.GetNamespace() != "" {
				if err := i.CreateNamespace(t.Context(), named.GetNamespace()); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, err := i.Create(t.Context(), rendered, true)
		if err != nil || n == 0 {
			t.Errorf("%s: of %d objects: %v", name, n, err)
		}
	}
}

// helm installs or upgrades the release with these values besides those of before, and waits until it runs.
func (i *installation) helm(t *testing.T, verb string, values ...string) {
	t.Helper()
	path, err := process.Neighbour("helm")
	if err != nil {
		t.Fatal(err)
	}
	i.values = append(i.values, values...)
	args := []string{verb, "agent", i.chart, "--namespace", monitoring, "--create-namespace", "--wait", "--timeout=120s"}
	if out, err := i.Command(t.Context(), path, append(args, i.arguments()...)...); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, i.agentLog(t))
	}
}

// arguments are the values as arguments of helm.
func (i *installation) arguments() []string {
	var args []string
	for _, value := range i.values {
		args = append(args, "--set", value)
	}
	return args
}

// agentPod is the agent's pod that runs.
func (i *installation) agentPod(ctx context.Context) (*core.Pod, error) {
	pods, err := i.Client().CoreV1().Pods(monitoring).List(ctx, meta.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil && pod.Status.PodIP != "" && pod.Status.Phase == core.PodRunning {
			return &pod, nil
		}
	}
	return nil, fmt.Errorf("none of %d pods of the agent runs", len(pods.Items))
}

// agentLog is what the agent's pods have logged and what the cluster says of them, for a test that fails.
func (i *installation) agentLog(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	events, err := i.Client().CoreV1().Events(monitoring).List(t.Context(), meta.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, event := range events.Items {
		fmt.Fprintln(&text, event.InvolvedObject.Kind, event.InvolvedObject.Name, event.Reason, event.Message)
	}
	pods := i.Client().CoreV1().Pods(monitoring)
	all, err := pods.List(t.Context(), meta.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, pod := range all.Items {
		for _, container := range []string{"prepare-data", "torchbearer"} {
			log, err := pods.GetLogs(pod.Name, &core.PodLogOptions{Container: container}).DoRaw(t.Context())
			fmt.Fprintf(&text, "log of %s in %s (%v):\n%s\n", container, pod.Name, err, log)
		}
	}
	return text.String()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
