// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/receiver"
)

const podsPerNode = 3

// A crew is one agent on each node of a control plane, with pods that answer, and what only one of them may scrape.
type crew struct {
	agents  []*nodeAgent
	holders []int // who has held the lease, as the test saw it
}

// startCrew makes n nodes with their pods and agents. Node i has the address 127.1.i.1, its pods have 127.1.i.10 and
// following.
func startCrew(t *testing.T, n int) *crew {
	t.Helper()
	c := startControlPlane(t)
	static := startTarget(t, &counter{metric: "cluster_static"})
	exporter := startTarget(t, &counter{metric: "cluster_endpoint"})
	createSlice(t, c, "exporter")
	config := func(kubeconfig, url string) string {
		return global(time.Second) + remoteWrite(url, soon, messageV2) + jobs(
			kubernetesJob("pods", "pod", kubeconfig, relabel(label("pod", "__meta_kubernetes_pod_name"))),
			kubernetesJob("nodes", "node", kubeconfig, relabel(label("node", "__meta_kubernetes_node_name"))),
			kubernetesJob("endpoints", "endpointslice", kubeconfig, "  namespaces: {names: [default]}",
				relabel("- {source_labels: [__meta_kubernetes_endpointslice_name], regex: exporter, action: keep}\n",
					"- {target_label: __address__, replacement: \""+exporter+"\"}\n")),
			job("static", []string{static}),
		)
	}
	var r crew
	for i := range n {
		node := fmt.Sprintf("node-%d", i)
		nodePort := serveAt(t, fmt.Sprintf("127.1.%d.1:0", i), &counter{metric: "node_value"})
		if err := c.CreateNode(t.Context(), node, fmt.Sprintf("127.1.%d.1", i), nodePort); err != nil {
			t.Fatal(err)
		}
		for j := range podsPerNode {
			ip := fmt.Sprintf("127.1.%d.%d", i, 10+j)
			pod := kube.Pod{Name: fmt.Sprintf("pod-%d-%d", i, j), Node: node, IP: ip}
			pod.Port = serveAt(t, ip+":0", &counter{metric: "pod_value"})
			if err := c.CreatePod(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		r.agents = append(r.agents, newNodeAgent(t, c, node, config))
	}
	for _, a := range r.agents {
		a.start(t)
	}
	return &r
}

func (r *crew) current() int { return r.holders[len(r.holders)-1] }

// next waits until an agent other than old scrapes the cluster-scoped targets.
func (r *crew) next(t *testing.T, old int, timeout time.Duration) int {
	t.Helper()
	before := map[int]int{}
	for i := range r.agents {
		before[i] = r.scrapes(i)
	}
	until(t, timeout, "an agent scrapes what is the cluster's", func(context.Context) error {
		for i := range r.agents {
			if i != old && r.scrapes(i) > before[i] {
				r.holders = append(r.holders, i)
				return nil
			}
		}
		return errors.New("none does")
	})
	r.wantGrowth(t, r.current(), 3)
	return r.current()
}

// clusterSeries are the metrics of which each sample has to come from one agent.
var clusterSeries = []string{"cluster_static", "cluster_endpoint"}

// scrapes is how many samples of the cluster-scoped jobs an agent has sent, of the one with fewer.
func (r *crew) scrapes(i int) int {
	fewest := -1
	for _, name := range clusterSeries {
		n := 0
		for _, s := range r.agents[i].dest.Match("__name__", name) {
			n += len(s.Points)
		}
		if fewest < 0 || n < fewest {
			fewest = n
		}
	}
	return fewest
}

func (r *crew) wantGrowth(t *testing.T, i, more int) {
	t.Helper()
	before := r.scrapes(i)
	until(t, 60*time.Second, "it goes on scraping", func(context.Context) error {
		return atLeast("cluster-scoped scrapes", r.scrapes(i)-before, more)
	})
}

// wantFollower waits until the agent says that others hold the lease.
func (r *crew) wantFollower(t *testing.T, i int) {
	t.Helper()
	a := r.agents[i]
	a.until(t, 60*time.Second, "the former holder knows the new one", func(ctx context.Context) error {
		s, err := a.scopes(ctx)
		if err == nil && (s.Lease == nil || s.Lease.Held || !strings.Contains(s.Lease.Holder, r.agents[r.current()].node)) {
			err = fmt.Errorf("it says %+v", s.Lease)
		}
		return err
	})
}

// A sighting is a sample of a series with the agent that sent it.
type sighting struct {
	agent int
	receiver.Point
}

// history is all that came of a series, in order of time.
func (r *crew) history(metric string) []sighting {
	var all []sighting
	for i, a := range r.agents {
		for _, s := range a.dest.Match("__name__", metric) {
			for _, p := range s.Points {
				all = append(all, sighting{agent: i, Point: p})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return int(a.Time - b.Time) })
	return all
}
