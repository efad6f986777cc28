// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"torchbearer/e2e/cluster"
)

func TestSpeed(t *testing.T) {
	begin := time.Now()
	c, err := cluster.StartControlPlane(t.Context(), cluster.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Log("ready", time.Since(begin))
	begin = time.Now()
	err = cluster.Each(t.Context(), 1000, func(ctx context.Context, i int) error {
		return c.CreateNode(ctx, fmt.Sprintf("node-%d", i), "127.0.0.1", 10250)
	})
	t.Log("nodes", time.Since(begin), err)
	begin = time.Now()
	err = cluster.Each(t.Context(), 3000, func(ctx context.Context, i int) error {
		return c.CreatePod(ctx, cluster.Pod{Name: fmt.Sprintf("pod-%d", i), Node: fmt.Sprintf("node-%d", i/30), IP: "127.0.0.1", Port: 80})
	})
	t.Log("pods", time.Since(begin), err)
	begin = time.Now()
	l, err := c.Client().CoreV1().Pods("").List(t.Context(), meta.ListOptions{})
	t.Log(len(l.Items), time.Since(begin), err)
	t.Log(c.Log())
	a, err := c.CreateAccount(t.Context(), "monitoring", "agent-1", "")
	t.Log(a, err)
}
