// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"torchbearer/agent/status"
)

// cluster is an API server with a Lease and a pod on each of two nodes.
type cluster struct {
	holder string // of the lease; "" is that there is none
	age    time.Duration

	mu     sync.Mutex
	writes []string
	pods   []string // selectors that pods were listed by
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if r.Method != http.MethodGet {
		c.writes = append(c.writes, r.Method+" "+r.URL.Path)
	}
	c.mu.Unlock()
	say := func(code int, answer any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(answer)
	}
	failure := func(code int, reason metav1.StatusReason) {
		say(code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason})
	}
	query := r.URL.Query()
	switch {
	case query.Get("watch") != "" && query.Get("sendInitialEvents") != "":
		failure(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid) // It is an older one.
	case query.Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case strings.HasSuffix(r.URL.Path, "/pods"):
		c.mu.Lock()
		c.pods = append(c.pods, query.Get("fieldSelector"))
		c.mu.Unlock()
		say(http.StatusOK, podsBy(query.Get("fieldSelector")))
	case strings.HasSuffix(r.URL.Path, "/namespaces/metrics/leases/torchbearer") && c.holder != "":
		renewed, seconds := metav1.NewMicroTime(time.Now().Add(-c.age)), int32(12)
		say(http.StatusOK, coordination.Lease{
			TypeMeta: metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"}, ObjectMeta: metav1.ObjectMeta{Name: "torchbearer", Namespace: "metrics"},
			Spec: coordination.LeaseSpec{HolderIdentity: &c.holder, RenewTime: &renewed, LeaseDurationSeconds: &seconds},
		})
	default:
		failure(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

func podsBy(selector string) core.PodList {
	list := core.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for i, node := range []string{"n1", "n2"} {
		if selector != "" && selector != "spec.nodeName="+node {
			continue
		}
		list.Items = append(list.Items, core.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "pod-" + node, Namespace: "shop"},
			Spec:       core.PodSpec{NodeName: node, Containers: []core.Container{{Name: "c", Ports: []core.ContainerPort{{ContainerPort: 80}}}}},
			Status:     core.PodStatus{PodIP: fmt.Sprintf("10.0.0.%d", i+1)},
		})
	}
	return list
}

func TestRehearseInACluster(t *testing.T) {
	for name, c := range map[string]struct {
		node   string
		holder string
		age    time.Duration
		all    bool

		pods, leased []string // targets
		by, reason   string   // of the cluster-scoped job
	}{
		"another holds the lease":    {node: "n1", holder: "other_uid", pods: []string{"10.0.0.1:80"}, by: "other_uid", reason: "another agent holds the lease"},
		"looked at all the same":     {node: "n1", holder: "other_uid", all: true, pods: []string{"10.0.0.1:80"}, leased: []string{"s:1"}, by: "other_uid", reason: "looked at all the same"},
		"nobody holds it":            {node: "n2", pods: []string{"10.0.0.2:80"}, leased: []string{"s:1"}, reason: "this agent would take it"},
		"nobody renews it":           {node: "n1", holder: "dead_uid", age: time.Hour, pods: []string{"10.0.0.1:80"}, leased: []string{"s:1"}, reason: "this agent would take it"},
		"the agent itself holds it":  {node: "n1", holder: "me_uid", pods: []string{"10.0.0.1:80"}, leased: []string{"s:1"}, reason: "this agent holds the lease"},
		"on a desk, others hold it":  {holder: "other_uid", pods: []string{"10.0.0.1:80", "10.0.0.2:80"}, by: "other_uid", reason: "another agent holds the lease"},
		"on a desk, with no agents":  {pods: []string{"10.0.0.1:80", "10.0.0.2:80"}, leased: []string{"s:1"}, reason: "scraped whole: NODE_NAME is not set"},
		"on a desk, looking at them": {holder: "other_uid", all: true, pods: []string{"10.0.0.1:80", "10.0.0.2:80"}, leased: []string{"s:1"}, by: "other_uid", reason: "looked at all the same"},
	} {
		t.Run(name, func(t *testing.T) {
			api := &cluster{holder: c.holder, age: c.age}
			path := kubeconfig(t, api.ServeHTTP)
			place := Place{Kubeconfig: path, Node: c.node}
			if c.node != "" {
				place.Pod, place.PodUID = "me", "uid"
			}
			tg, err := New(Options{Library: promslog.NewNopLogger(), Registry: prometheus.NewRegistry(), Place: place, LeaseName: "torchbearer", LeaseDuration: leaseDuration})
			if err != nil {
				t.Fatal(err)
			}
			defer tg.stop()
			if err := tg.Locate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tg.Foresee(t.Context()); err != nil {
				t.Fatal(err)
			}
			cfg := jobs(t, `
- {job_name: pods, kubernetes_sd_configs: [{role: pod, kubeconfig_file: "`+path+`"}]}
- {job_name: leased, static_configs: [{targets: ["s:1"]}]}
`)
			found, err := tg.Rehearse(t.Context(), cfg, patience, c.all)
			if err != nil {
				t.Fatal(err)
			}
			got := addresses(found.Groups)
			want := map[string][]string{"pods": c.pods}
			if c.leased != nil {
				want["leased"] = c.leased
			}
			if diff := cmp.Diff(want, sorted(got)); diff != "" {
				t.Errorf("targets (-want +got):\n%s\nsilent: %v", diff, found.Silent)
			}
			job := found.Scopes.Jobs[1]
			if job.Scraped != (c.leased != nil) || job.By != c.by || !strings.Contains(job.Reason, c.reason) {
				t.Errorf("the cluster's job is told as %+v", job)
			}
			if len(api.writes) > 0 {
				t.Errorf("it wrote: %v", api.writes)
			}
		})
	}
}

func sorted(all map[string][]string) map[string][]string {
	for _, list := range all {
		if len(list) == 2 && list[0] > list[1] {
			list[0], list[1] = list[1], list[0]
		}
	}
	return all
}

// TestRehearseBesideWhatRuns: it finds what a running discovery of the same finds,
// names who is silent, and leaves what runs alone.
func TestRehearseBesideWhatRuns(t *testing.T) {
	sd := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer sd.Close()
	tg, next := run(t)
	if err := tg.Apply(jobs(t, `- {job_name: static, static_configs: [{targets: ["s:1"]}]}`)); err != nil {
		t.Fatal(err)
	}
	next(map[string][]string{"static": {"s:1"}})
	before := tg.Status()
	cfg := jobs(t, `
- {job_name: a, static_configs: [{targets: ["s:1"]}, {targets: ["s:2"]}]}
- {job_name: b, static_configs: [{targets: ["s:1"]}, {targets: ["s:2"]}]}
- {job_name: http, http_sd_configs: [{url: "`+sd.URL+`"}], static_configs: [{targets: ["s:3"]}]}
- {job_name: broken, kubernetes_sd_configs: [{role: pod, kubeconfig_file: /nowhere}]}
- {job_name: none}
`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	found, err := tg.Rehearse(ctx, cfg, patience, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"s:1", "s:2"}, "b": {"s:1", "s:2"}, "http": {"s:3"}, "broken": {}, "none": {}}, sorted(addresses(found.Groups))); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if len(found.Silent) != 2 || len(found.Silent["http"]) != 1 || len(found.Silent["broken"]) != 1 || !strings.Contains(found.Silent["broken"][0], "/nowhere") {
		t.Errorf("silent are %v", found.Silent)
	}
	if diff := cmp.Diff(before, tg.Status()); diff != "" {
		t.Errorf("what runs changed:\n%s", diff)
	}
	var told []status.Job
	for _, j := range found.Scopes.Jobs {
		if !j.Scraped {
			told = append(told, j)
		}
	}
	if len(found.Scopes.Jobs) != 5 || len(told) > 0 {
		t.Errorf("not looked at: %v", told)
	}
}

// TestRehearseTellsWhyADiscoveryIsSilent: the library only logs it.
func TestRehearseTellsWhyADiscoveryIsSilent(t *testing.T) {
	sd := httptest.NewServer(http.NotFoundHandler())
	defer sd.Close()
	tg, _ := run(t)
	found, err := tg.Rehearse(t.Context(), jobs(t, `- {job_name: http, http_sd_configs: [{url: "`+sd.URL+`"}]}`), 2*time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	if silent := found.Silent["http"]; len(silent) != 1 || !strings.HasPrefix(silent[0], "http: ") || !strings.Contains(silent[0], "404") {
		t.Errorf("silent are %q", silent)
	}
}
