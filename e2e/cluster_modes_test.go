// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"torchbearer/e2e/process"
)

// wantDivided gives the cluster-scoped jobs to a Deployment, as in very large clusters.
func (i *installation) wantDivided(t *testing.T) {
	t.Helper()
	i.helm(t, "upgrade", "clusterScope.deployment.enabled=true")
	until(t, 120*time.Second, "one pod of the Deployment has the lease, and scrapes", func(ctx context.Context) error {
		for _, want := range []string{
			`count(torchbearer_lease_held{job="torchbearer",pod=~"agent-torchbearer-cluster-.*"} == 1) == 1`,
			`count(last_over_time(up{job="kube-apiserver"}[5s]) == 1) == 1`,
		} {
			found, err := process.Query(ctx, i.central, want)
			if err == nil && len(found) != 1 {
				err = errors.New("not seen: " + want)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	url, stop, err := i.agentURL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var s scopes
	if err := process.API(t.Context(), url+"/api/v1/status/scopes", &s); err != nil {
		t.Fatal(err)
	}
	for _, job := range s.Jobs {
		if s.Scope != "node" || job.Scraped != (job.Scope == "node") {
			t.Errorf("the agent of the node, of scope %q, says %+v", s.Scope, job)
		}
	}
}

// wantRestricted installs the chart without hostPath where Pod Security admits only what is restricted.
func (i *installation) wantRestricted(t *testing.T) {
	t.Helper()
	namespace := &core.Namespace{ObjectMeta: meta.ObjectMeta{
		Name: "restricted", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if _, err := i.Client().CoreV1().Namespaces().Create(t.Context(), namespace, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	helm, err := process.Neighbour("helm")
	if err != nil {
		t.Fatal(err)
	}
	values, err := filepath.Abs(chartValues(t)["restricted"])
	if err != nil {
		t.Fatal(err)
	}
	out, err := i.Command(t.Context(), helm, "install", "second", i.chart, "--namespace", namespace.Name, "--values", values,
		"--set", "remoteWrite[0].url="+i.write, "--set", "scrapeInterval=1s", "--set", "clusterName=restricted",
		"--set", "networkPolicy.enabled=false", "--wait", "--timeout=120s")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	expression := `up{clustername="restricted",job="torchbearer",namespace="restricted"} == 1`
	until(t, 120*time.Second, "the restricted agent sends", func(ctx context.Context) error {
		found, err := process.Query(ctx, i.central, expression)
		if err == nil && len(found) != 1 {
			err = errors.New("nothing of it is there")
		}
		return err
	})
}
