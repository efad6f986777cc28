// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	kube "torchbearer/e2e/cluster"
)

// annotated are the annotations of a pod that wants to be scraped; further pairs of name and value change them.
func annotated(port int32, pairs ...string) map[string]string {
	all := map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": strconv.Itoa(int(port))}
	for i := 0; i < len(pairs); i += 2 {
		all["prometheus.io/"+pairs[i]] = pairs[i+1]
	}
	return all
}

// hostilePods are pods that want too much; port is of a target that answers, on any address. No annotation may take the
// agent anywhere but to the pod's own address.
func hostilePods(port int32) map[string]kube.Pod {
	pods := map[string]kube.Pod{}
	for _, text := range []string{"99999999", "65536", "0", "-1", "http", "80/../..", "127.5.0.1:80", "0x50", " "} {
		pods["port "+text] = kube.Pod{Annotations: annotated(port, "port", text)}
	}
	for _, text := range []string{"../../x y", "/a/../b", "/%zz", "/a b", "@evil.example/", "/?a=b", "/#a"} {
		pods["path "+text] = kube.Pod{Annotations: annotated(port, "path", text)}
	}
	for _, text := range []string{"gopher", "file", "HTTP", "http://evil.example"} {
		pods["scheme "+text] = kube.Pod{Annotations: annotated(port, "scheme", text)}
	}
	pods["no address"] = kube.Pod{Annotations: annotated(port), IP: "none"}
	pods["pending"] = kube.Pod{Annotations: annotated(port), Phase: core.PodPending}
	pods["completed"] = kube.Pod{Annotations: annotated(port), Phase: core.PodSucceeded}
	pods["failed"] = kube.Pod{Annotations: annotated(port), Phase: core.PodFailed}
	pods["metadata service"] = kube.Pod{Annotations: annotated(port), IP: "169.254.169.254"}
	pods["silent"] = kube.Pod{}
	return pods
}

// TestHostilePods runs the chart's own config on pods that want too much, beside some that do not.
func TestHostilePods(t *testing.T) {
	c := startControlPlane(t)
	const node, address = "node-0", "127.5.0.1"
	if err := c.CreateNode(t.Context(), node, address, 10250); err != nil {
		t.Fatal(err)
	}
	hostile := &counter{metric: "hostile_value"}
	port := serveAt(t, "127.5.0.9:0", hostile)
	names := map[string]string{} // of the pods: what is wrong with them
	for i, what := range slices.Sorted(maps.Keys(hostilePods(port))) {
		pod := hostilePods(port)[what]
		pod.Name, pod.Node = fmt.Sprintf("hostile-%d", i), node
		names[pod.Name] = what
		switch pod.IP {
		case "":
			pod.IP = "127.5.0.9"
		case "none":
			pod.IP = ""
		}
		if err := c.CreatePod(t.Context(), pod); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	good := createGoodPods(t, c, node, address)
	a := newNodeAgent(t, c, node, func(kubeconfig, url string) string { return chartConfig(t, kubeconfig, url) })
	a.start(t)
	a.ready(t)

	wantArrived := func(since time.Time) {
		t.Helper()
		until(t, 90*time.Second, "the good pods arrive", func(context.Context) error {
			for _, name := range good {
				series := a.dest.Match("__name__", "good_value", "pod", name, "job", "kubernetes-pods")
				if len(series) != 1 || series[0].Points[len(series[0].Points)-1].Time < since.UnixMilli() {
					return fmt.Errorf("of pod %s came %d series", name, len(series))
				}
			}
			return nil
		})
	}
	wantArrived(time.Now().Add(-time.Minute))
	all, err := a.targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, active := range all.Active {
		if name := active.Labels["pod"]; !slices.Contains(good, name) {
			t.Errorf("pod with %s is scraped: %s", names[name], active.ScrapeURL)
		}
	}
	if n := hostile.answers.Load(); n > 0 {
		t.Errorf("pods that should not be scraped were, %d times", n)
	}
	// A node whose object goes, as when it is renamed, is no reason to stop.
	if err := c.Client().CoreV1().Nodes().Delete(t.Context(), node, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	wait(t, 2*time.Second)
	wantArrived(gone)
}

// createGoodPods makes pods that have to be scraped, the odd ones too, and returns their names.
func createGoodPods(t *testing.T, c *kube.ControlPlane, node, address string) []string {
	t.Helper()
	port := serveAt(t, "127.5.0.2:0", &counter{metric: "good_value"})
	hostPort := serveAt(t, address+":0", &counter{metric: "good_value"})
	pods := []kube.Pod{
		{Name: "plain", IP: "127.5.0.2", Annotations: annotated(port)},
		{Name: "by-port-list", IP: "127.5.0.2", Port: port, Annotations: map[string]string{"prometheus.io/scrape": "true"}},
		{Name: "other-path", IP: "127.5.0.2", Annotations: annotated(port, "path", "/other/metrics")},
		{Name: "no-host-in-the-path", IP: "127.5.0.2", Annotations: annotated(port, "path", "//evil.example/metrics")},
		{Name: "host-1", IP: address, HostNetwork: true, Annotations: annotated(hostPort)},
		{Name: "host-2", IP: address, HostNetwork: true, Annotations: annotated(hostPort)},
		{Name: "fat", IP: "127.5.0.2", Annotations: annotated(port, "note", strings.Repeat("x", 250_000)), Labels: map[string]string{}},
	}
	// The API server takes an object of one and a half megabytes.
	for i := range 6000 {
		pods[len(pods)-1].Labels[fmt.Sprintf("label-%d", i)] = strings.Repeat("y", 63)
	}
	var names []string
	for _, pod := range pods {
		pod.Node = node
		if err := c.CreatePod(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		names = append(names, pod.Name)
	}
	return names
}

// chartConfig is what the chart renders, without jobs that need the files of a pod, for an agent that is none.
func chartConfig(t *testing.T, kubeconfig, url string) string {
	t.Helper()
	config := agentConfig(decode(t, render(t, "--set", "clusterName="+cluster, "--set", "environment="+environment,
		"--set", "remoteWrite[0].url="+url, "--set", "scrapeInterval=1s", "--set", "jobs.kubelet.enabled=false",
		"--set", "jobs.cadvisor.enabled=false", "--set", "jobs.kube-apiserver.enabled=false")))
	role := regexp.MustCompile(`(?m)^  - role: (\w+)$`)
	return role.ReplaceAllString(config, "  - role: $1\n    kubeconfig_file: "+kubeconfig)
}

// TestLeaseByHand has somebody edit the lease of a running agent in every way.
func TestLeaseByHand(t *testing.T) {
	c := startControlPlane(t)
	const node = "node-0"
	if err := c.CreateNode(t.Context(), node, "127.5.1.1", 10250); err != nil {
		t.Fatal(err)
	}
	pod := kube.Pod{Name: "pod", Node: node, IP: "127.5.1.2"}
	pod.Port = serveAt(t, pod.IP+":0", &counter{metric: "pod_value"})
	if err := c.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	static := startTarget(t, &counter{metric: "cluster_static"})
	a := newNodeAgent(t, c, node, func(kubeconfig, url string) string {
		return global(time.Second) + remoteWrite(url, soon, messageV2) +
			jobs(kubernetesJob("pods", "pod", kubeconfig), job("static", []string{static}))
	})
	a.flags = []string{"--lease.duration=4s"}
	a.start(t)
	a.ready(t)
	wantArrives(t, a.agent, a.dest, "__name__", "pod_value")
	begin := time.Now()
	leases := c.Client().CoordinationV1().Leases(monitoring)
	wantHeld := func() {
		t.Helper()
		since := time.Now()
		a.until(t, 90*time.Second, "the agent holds the lease and scrapes", func(ctx context.Context) error {
			lease, err := leases.Get(ctx, leaseName, meta.GetOptions{})
			if err != nil {
				return err
			}
			if holder := lease.Spec.HolderIdentity; holder == nil || !strings.HasPrefix(*holder, node) {
				return fmt.Errorf("the lease is %+v", lease.Spec)
			}
			for _, s := range a.dest.Match("__name__", "cluster_static") {
				if s.Points[len(s.Points)-1].Time > since.UnixMilli() {
					return nil
				}
			}
			return errors.New("nothing has come since")
		})
		t.Logf("held and scraped after %s", time.Since(since).Round(100*time.Millisecond))
	}
	wantHeld()
	for what, edit := range leaseEdits() {
		t.Run(what, func(t *testing.T) {
			// The agent may renew the lease between the two calls.
			err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
				lease, err := leases.Get(t.Context(), leaseName, meta.GetOptions{})
				if err != nil {
					return err
				}
				edit(lease)
				_, err = leases.Update(t.Context(), lease, meta.UpdateOptions{})
				return err
			})
			if apierrors.IsInvalid(err) {
				t.Logf("the API server does not take it: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantHeld()
		})
	}
	if err := leases.Delete(t.Context(), leaseName, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantHeld()
	wantSteady(t, a.dest, begin, "__name__", "pod_value")
}

// leaseEdits are what people do to leases, by name.
func leaseEdits() map[string]func(*coordination.Lease) {
	holder := func(name string, seconds int32) func(*coordination.Lease) {
		return func(l *coordination.Lease) {
			l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = &name, &seconds
			now := meta.NowMicro()
			l.Spec.RenewTime = &now
		}
	}
	return map[string]func(*coordination.Lease){
		"another holder":    holder("somebody", 4),
		"an absurd holder":  holder(strings.Repeat("x\n", 5000), 4),
		"no duration":       holder("somebody", 0),
		"negative duration": holder("somebody", -5),
		"endless duration":  holder("somebody", 1_000_000_000),
		"emptied":           func(l *coordination.Lease) { l.Spec = coordination.LeaseSpec{} },
		"in the future": func(l *coordination.Lease) {
			later := meta.NewMicroTime(time.Now().Add(24 * time.Hour))
			l.Spec.RenewTime, l.Spec.AcquireTime = &later, &later
		},
	}
}
