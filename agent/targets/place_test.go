// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ownedBy(kind, node string) *core.Pod {
	yes := true
	return &core.Pod{
		ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: "owner", Controller: &yes}}},
		Spec:       core.PodSpec{NodeName: node},
	}
}

func TestDecide(t *testing.T) {
	forbidden := apierrors.NewForbidden(core.Resource("pods"), "p", errors.New("RBAC"))
	missing := apierrors.NewNotFound(core.Resource("pods"), "p")
	for name, c := range map[string]struct {
		pod      *core.Pod
		name     string
		err      error
		node     string
		why      string // of scraping whole
		refusals []string
	}{
		"DaemonSet":                {pod: ownedBy("DaemonSet", "n1"), node: "n1"},
		"DaemonSet without node":   {pod: ownedBy("DaemonSet", ""), refusals: []string{"DaemonSet owner", "fieldPath: spec.nodeName"}},
		"Deployment":               {pod: ownedBy("ReplicaSet", "n1"), why: "ReplicaSet owner"},
		"StatefulSet":              {pod: ownedBy("StatefulSet", "n1"), why: "StatefulSet owner"},
		"alone":                    {pod: &core.Pod{Spec: core.PodSpec{NodeName: "n1"}}, why: "belongs to nothing"},
		"forbidden, DaemonSet":     {name: "prometheus-server-x7k2p", err: forbidden, refusals: []string{"cannot be read", "RBAC", "fieldPath: spec.nodeName"}},
		"forbidden, Deployment":    {name: "prometheus-server-6d4cf56db6-x7k2p", err: forbidden, why: "not one of a DaemonSet"},
		"forbidden, StatefulSet":   {name: "prometheus-server-0", err: forbidden, why: "not one of a DaemonSet"},
		"host name is not a pod's": {name: "aks-nodepool1-12345678-vmss000000", err: missing, refusals: []string{"fieldPath: spec.nodeName"}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := decide(c.pod, c.name, c.err)
			for _, want := range c.refusals {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %v, want %q in it", err, want)
				}
			}
			if len(c.refusals) == 0 && err != nil {
				t.Error(err)
			}
			if found.node != c.node || !strings.Contains(found.why, c.why) || (found.why == "") != (c.why == "") {
				t.Errorf("found %+v, want node %q and %q", found, c.node, c.why)
			}
		})
	}
}

// kubeconfig is that of an API server which answers so.
func kubeconfig(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "` + server.URL + `"}}],
users: [{name: u, user: {token: secret}}], contexts: [{name: c, context: {cluster: c, user: u, namespace: metrics}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLocate(t *testing.T) {
	var asked []string
	answers := func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		if len(asked) == 1 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "ownerReferences": [{"kind": "DaemonSet", "name": "d", "controller": true}]}, "spec": {"nodeName": "n9"}}`))
	}
	for name, c := range map[string]struct {
		part    Part
		inside  bool
		place   Place
		want    place
		refusal string
	}{
		"laptop":                        {want: place{why: "not in Kubernetes, everything is scraped"}},
		"laptop, NODE_NAME of another":  {place: Place{Node: "jenkins"}, want: place{why: "not in Kubernetes, everything is scraped"}},
		"laptop that wants a node":      {part: PartNode, refusal: "--kubernetes.kubeconfig"},
		"cluster's part":                {part: PartCluster, inside: true, place: Place{Node: "n1"}, want: place{lease: true}},
		"cluster's part, not in one":    {part: PartCluster, refusal: "--scrape.scope=cluster"},
		"told its node":                 {inside: true, place: Place{Node: "n1"}, want: place{node: "n1", lease: true}},
		"told its node, only the node":  {inside: true, part: PartNode, place: Place{Node: "n1"}, want: place{node: "n1"}},
		"not expanded":                  {inside: true, place: Place{Node: "$(NODE_NAME)"}, refusal: "no name of a node"},
		"outside with kubeconfig":       {inside: true, want: place{why: "NODE_NAME is not set, everything is scraped whole"}},
		"outside, only the node":        {inside: true, part: PartNode, refusal: "fieldPath: spec.nodeName"},
		"asks for its pod, a DaemonSet": {inside: true, place: Place{Pod: "p"}, want: place{node: "n9", lease: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			asked = nil
			if c.inside {
				c.place.Kubeconfig = kubeconfig(t, answers)
			}
			tg, err := New(Options{Library: promslog.NewNopLogger(), Registry: prometheus.NewRegistry(), Part: c.part, Place: c.place, LeaseName: "l", LeaseDuration: leaseDuration})
			if err != nil {
				t.Fatal(err)
			}
			defer tg.stop()
			err = tg.Locate(t.Context())
			if c.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), c.refusal) {
					t.Fatalf("the error is %v, want %q in it", err, c.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := tg.place
			got.client = nil
			if got != c.want {
				t.Errorf("found %+v, want %+v", got, c.want)
			}
			if (tg.lease != nil) != c.want.lease {
				t.Errorf("stands for the lease: %v", tg.lease != nil)
			}
			if c.place.Pod != "" && (len(asked) != 2 || asked[1] != "/api/v1/namespaces/metrics/pods/p") {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

func TestLocateEndsWithItsContext(t *testing.T) {
	path := kubeconfig(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	tg, err := New(Options{Library: promslog.NewNopLogger(), Registry: prometheus.NewRegistry(), Place: Place{Kubeconfig: path, Pod: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tg.stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tg.Locate(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
