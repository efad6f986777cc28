// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
)

// TestCluster runs a pod whose container kubelet measures, and looks that nothing of it outlives the cluster.
func TestCluster(t *testing.T) {
	if reason := cluster.Missing(); reason != "" {
		t.Skip(reason)
	}
	begin := time.Now()
	c, err := cluster.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeCluster(t, c) })
	t.Logf("the node was ready after %s", time.Since(begin))

	pods := c.Client().CoreV1().Pods(core.NamespaceDefault)
	until(t, "the pod is created", func(ctx context.Context) error {
		_, err := pods.Create(ctx, &core.Pod{
			ObjectMeta: meta.ObjectMeta{Name: "sleeper"},
			Spec:       core.PodSpec{Containers: []core.Container{{Name: "sleeper", Image: "docker.io/local/pause:1"}}},
		}, meta.CreateOptions{})
		return err // Its service account comes a moment after the namespace.
	})
	until(t, "the pod runs", func(ctx context.Context) error {
		pod, err := pods.Get(ctx, "sleeper", meta.GetOptions{})
		if err == nil && (pod.Status.Phase != core.PodRunning || !strings.HasPrefix(pod.Status.PodIP, "10.244.0.")) {
			err = fmt.Errorf("its phase is %s, its address %q", pod.Status.Phase, pod.Status.PodIP)
		}
		return err
	})
	until(t, "kubelet measures the container", func(ctx context.Context) error {
		text, err := c.Client().CoreV1().RESTClient().Get().
			AbsPath("/api/v1/nodes/" + cluster.NodeName + "/proxy/metrics/cadvisor").Do(ctx).Raw()
		if err == nil && !bytes.Contains(text, []byte(`container="sleeper"`)) {
			err = fmt.Errorf("none of %d bytes is about it", len(text))
		}
		return err
	})
}

func closeCluster(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if t.Failed() {
		t.Log(c.Logs())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, t.TempDir()) || strings.Contains(line, "/kubelet/") {
			t.Errorf("a mount is left: %s", line)
		}
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/torchbearer-e2e-*"); err != nil || len(left) > 0 {
		t.Errorf("cgroups are left: %v, %v", left, err)
	}
}

func until(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	if err := process.Until(ctx, func() error { return check(ctx) }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
