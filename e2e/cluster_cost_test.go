// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
)

const podsOfNode = 30

// A bill is what an agent has cost in a cluster.
type bill struct {
	nodes     int
	resident  int // bytes
	anonymous int // bytes of it that are no file's
	received  int64
	requests  int
	watches   map[string]int // by resource
	series    int
}

// TestCost runs the same agent in a cluster of one node and in one of 1,000 nodes and 30,000 pods, some of which change
// all the time. TORCHBEARER_E2E_NODES sets another number of nodes.
func TestCost(t *testing.T) {
	nodes := 1000
	if text := os.Getenv("TORCHBEARER_E2E_NODES"); text != "" {
		var err error
		if nodes, err = strconv.Atoi(text); err != nil {
			t.Fatalf("environment variable TORCHBEARER_E2E_NODES: %v", err)
		}
	}
	small, large := measure(t, 1), measure(t, nodes)
	t.Logf("%6s %7s %13s %13s %10s %9s  %s", "nodes", "pods", "resident KiB", "of it anon.", "received", "requests", "watches")
	for _, b := range []bill{small, large} {
		t.Logf("%6d %7d %13d %13d %10d %9d  %v", b.nodes, b.nodes*podsOfNode, b.resident>>10, b.anonymous>>10,
			b.received, b.requests, b.watches)
	}
	for what, of := range map[string]struct {
		small, large int
		most         float64
	}{
		"resident memory": {small.resident, large.resident, 1.1},
		// It is small, and what the runtime has not given back yet is a matter of chance; 30,000 pods would be times it.
		"anonymous memory": {small.anonymous, large.anonymous, 1.3},
		"bytes received":   {int(small.received), int(large.received), 1.1},
		"requests":         {small.requests, large.requests, 1.1},
	} {
		if ratio := float64(of.large) / float64(of.small); ratio > of.most {
			t.Errorf("%s: %d in the large cluster is %.2f times the %d in the small one", what, of.large, ratio, of.small)
		}
	}
	for _, b := range []bill{small, large} {
		if b.watches["pods"] != 1 || b.watches["leases"] != 1 || b.watches["nodes"] > 2 || len(b.watches) != 3 {
			t.Errorf("with %d nodes the agent opened the watches %v", b.nodes, b.watches)
		}
		if b.series != podsOfNode {
			t.Errorf("with %d nodes the agent sent %d pods, want %d", b.nodes, b.series, podsOfNode)
		}
	}
}

// measure runs an agent on the first node for a while.
func measure(t *testing.T, nodes int) bill {
	t.Helper()
	c := startControlPlane(t)
	populate(t, c, nodes)
	a := newNodeAgent(t, c, "node-0", func(kubeconfig, url string) string {
		return global(time.Second) + remoteWrite(url, soon, messageV2) + jobs(
			kubernetesJob("pods", "pod", kubeconfig, "  attach_metadata: {node: true}",
				relabel(label("pod", "__meta_kubernetes_pod_name"),
					label("os", "__meta_kubernetes_node_label_kubernetes_io_os"))),
			kubernetesJob("nodes", "node", kubeconfig),
			job("static", []string{startTarget(t, &counter{metric: "cluster_static"})}),
		)
	})
	// Not the one with the race detector, whose memory is another.
	program, err := filepath.Abs("../bin/torchbearer")
	if err != nil {
		t.Fatal(err)
	}
	a.program = program
	a.flags = []string{"--lease.duration=60s"} // So that the number of renewals is no matter of chance.
	a.start(t)
	a.ready(t)
	until(t, 60*time.Second, "all jobs arrive", func(context.Context) error {
		pods := len(a.dest.Match("__name__", "pod_value", "os", "linux"))
		return atLeast("series", pods+len(a.dest.Match("__name__", "cluster_static")), podsOfNode+1)
	})
	for range 100 {
		time.Sleep(150 * time.Millisecond) //nolint:forbidigo // The time is what is measured.
		touch(t, c, nodes)
	}
	b := bill{nodes: nodes, received: a.wire.Received(), watches: map[string]int{}}
	b.series = len(a.dest.Match("__name__", "pod_value", "os", "linux"))
	requests, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		// How often the lease is renewed is a matter of how long it took.
		if r.Resource != "leases" || r.Verb == "watch" {
			b.requests++
		}
		if r.Verb == "watch" {
			b.watches[r.Resource]++
		}
	}
	b.resident, b.anonymous = memory(t, a)
	return b
}

// populate makes nodes with 30 pods each; those of the first answer.
func populate(t *testing.T, c *kube.ControlPlane, nodes int) {
	t.Helper()
	err := kube.Each(t.Context(), nodes, func(ctx context.Context, i int) error {
		return c.CreateNode(ctx, fmt.Sprintf("node-%d", i), "127.3.0.1", 10250)
	})
	if err != nil {
		t.Fatal(err)
	}
	ports := make([]int32, podsOfNode)
	for j := range ports {
		ports[j] = serveAt(t, fmt.Sprintf("127.3.0.%d:0", 10+j), &counter{metric: "pod_value"})
	}
	err = kube.Each(t.Context(), nodes*podsOfNode, func(ctx context.Context, i int) error {
		node, j := i/podsOfNode, i%podsOfNode
		return c.CreatePod(ctx, kube.Pod{
			Name: fmt.Sprintf("pod-%d-%d", node, j), Node: fmt.Sprintf("node-%d", node),
			IP: fmt.Sprintf("127.3.0.%d", 10+j), Port: ports[j], Labels: map[string]string{"app": "load"},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// touch changes a pod of the agent's node, which it is told of in any cluster, and of each of ten others. What is always
// told makes small what is a matter of chance: how many connections the client opens before it knows that one will do.
func touch(t *testing.T, c *kube.ControlPlane, nodes int) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"touched":"%d"}}}`, time.Now().UnixNano())
	for i := range min(nodes, 11) {
		if _, err := c.Client().CoreV1().Pods("default").Patch(t.Context(), fmt.Sprintf("pod-%d-0", i),
			types.MergePatchType, patch, meta.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Client().CoreV1().Nodes().Patch(t.Context(), fmt.Sprintf("node-%d", i),
			types.MergePatchType, patch, meta.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// memory is what the agent has of it after it has cleared up: the least of some looks.
func memory(t *testing.T, a *nodeAgent) (resident, anonymous int) {
	t.Helper()
	for i := range 10 {
		if err := process.Answers(t.Context(), a.url+"/debug/pprof/heap?gc=1"); err != nil {
			t.Fatal(err)
		}
		text := readFile(t, fmt.Sprintf("/proc/%d/smaps_rollup", a.Pid()))
		nowResident, nowAnonymous := kibibytes(t, text, "Rss:")<<10, kibibytes(t, text, "Anonymous:")<<10
		if i == 0 {
			resident, anonymous = nowResident, nowAnonymous
		}
		resident, anonymous = min(resident, nowResident), min(anonymous, nowAnonymous)
		time.Sleep(300 * time.Millisecond) //nolint:forbidigo // The runtime gives memory back in the meantime.
	}
	return resident, anonymous
}

func kibibytes(t *testing.T, text, field string) int {
	t.Helper()
	_, rest, found := strings.Cut(text, field)
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		t.Fatalf("there is no field %s in:\n%s", field, text)
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
