// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"

	"torchbearer/config"
)

const threeJobs = `
- {job_name: node, kubernetes_sd_configs: [{role: pod, api_server: "http://127.0.0.1:1"}]}
- {job_name: cluster, static_configs: [{targets: ["s:1"]}]}
- {job_name: every, static_configs: [{targets: ["e:1"]}]}
`

func scoped(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg := jobs(t, text)
	cfg.Agent.Scopes = map[string]config.Scope{"every": config.ScopeEvery}
	return cfg
}

func TestAPartOfTheJobs(t *testing.T) {
	for part, want := range map[Part][]string{
		PartAll: {"node", "cluster", "every"}, PartNode: {"node", "every"}, PartCluster: {"cluster", "every"},
	} {
		t.Run(string(part), func(t *testing.T) {
			tg, next := run(t, func(tg *Targets) { tg.opts.Part = part })
			if err := tg.Apply(scoped(t, threeJobs)); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, job := range tg.Status().Jobs {
				if job.Scraped {
					got = append(got, job.Name)
				}
				if job.Reason == "" {
					t.Errorf("job %s has no reason", job.Name)
				}
				value := 0.0
				if job.Scraped {
					value = 1
				}
				if told := testutil.ToFloat64(tg.scrapedJobs.WithLabelValues(job.Name, job.Scope)); told != value {
					t.Errorf("torchbearer_job_scraped of %s is %v", job.Name, told)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("scraped here (-want +got):\n%s", diff)
			}
			targets := map[string][]string{"node": {}, "cluster": {}, "every": {"e:1"}}
			if slices.Contains(want, "cluster") {
				targets["cluster"] = []string{"s:1"}
			}
			next(targets)
		})
	}
}

func TestTheLeaseBringsAndTakesJobs(t *testing.T) {
	tg, next := run(t, func(tg *Targets) {
		tg.place = place{node: "n1", lease: true} // As Locate does.
		// The election itself is another test's.
		away := (&api{}).view()
		away.reachable(false)
		tg.lease = &lease{lock: &lock{client: away, identity: "me", usurped: make(chan struct{}, 1)}, fence: &tg.fence, logger: tg.logger}
		tg.lease.lock.report = tg.lease.report
	})
	if err := tg.Apply(scoped(t, threeJobs)); err != nil {
		t.Fatal(err)
	}
	without := map[string][]string{"node": {}, "cluster": {}, "every": {"e:1"}}
	next(without)
	if _, ok := tg.Admit("cluster"); ok {
		t.Error("samples of a job that is another's are let in")
	}
	if done, ok := tg.Admit("every"); !ok {
		t.Error("samples of a job that is everybody's are not let in")
	} else {
		done()
	}

	tg.fence.extend(time.Now().Add(time.Hour))
	tg.fence.raise()
	tg.hold(true, false)
	next(map[string][]string{"node": {}, "cluster": {"s:1"}, "every": {"e:1"}})
	done, ok := tg.Admit("cluster")
	if !ok {
		t.Fatal("samples of the holder are not let in")
	}
	done()
	if status := tg.Status(); !status.Lease.Held || !status.Jobs[1].Scraped {
		t.Errorf("the status of the holder is %+v", status)
	}
	if err := tg.fence.shut(t.Context()); err != nil {
		t.Fatal(err)
	}
	tg.hold(false, false)
	next(without)
	job := tg.Status().Jobs[1]
	for deadline := time.Now().Add(patience); !strings.HasSuffix(job.Reason, "no route to host") && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // The API server is asked meanwhile.
		job = tg.Status().Jobs[1]
	}
	if job.Scraped || !strings.HasSuffix(job.Reason, "no route to host") {
		t.Errorf("the job that was lost is told as %+v", job)
	}
}

func TestJobsOfOneRoleShareTheirDiscovery(t *testing.T) {
	tg, err := New(Options{Library: promslog.NewNopLogger(), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer tg.stop()
	tg.place.node = "n1"
	if err := tg.Apply(jobs(t, `
- {job_name: a, kubernetes_sd_configs: [{role: pod, api_server: "http://127.0.0.1:1"}], relabel_configs: [{target_label: x, replacement: y}]}
- {job_name: b, kubernetes_sd_configs: [{role: pod, api_server: "http://127.0.0.1:1"}]}
- {job_name: c, kubernetes_sd_configs: [{role: pod, api_server: "http://127.0.0.1:1", namespaces: {names: [n]}}]}
- {job_name: d, kubernetes_sd_configs: [{role: node, api_server: "http://127.0.0.1:1"}]}
- {job_name: e, kubernetes_sd_configs: [{role: node, api_server: "http://127.0.0.1:1"}]}
`)); err != nil {
		t.Fatal(err)
	}
	if n := len(tg.manager.Providers()); n != 3 {
		t.Errorf("%d discoveries run, want 3: pods, pods of a namespace, nodes", n)
	}
}

func TestFenceGoesByBothClocks(t *testing.T) {
	begun := time.Now()
	at := begun
	f := fence{now: func() time.Time { return at }}
	f.extend(begun.Add(11 * time.Second))
	if f.left() != 0 {
		t.Error("it is open before it was raised")
	}
	f.raise()
	if left := f.left(); left != 11*time.Second {
		t.Errorf("%s are left", left)
	}
	at = begun.Add(20 * time.Second).Round(0) // A machine that was suspended: only the wall clock went on.
	if f.left() != 0 {
		t.Error("it is open, and by the wall clock it may not be")
	}
	at = begun.Add(20 * time.Second)
	if f.left() != 0 {
		t.Error("it is open after its time")
	}
	f.extend(at.Add(time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	done, ok := f.pass()
	if !ok {
		t.Fatal("it is closed though it was extended")
	}
	cancel()
	if err := f.shut(ctx); err == nil {
		t.Error("it was shut while somebody passed")
	}
	done()
	if err := f.shut(t.Context()); err != nil {
		t.Error(err)
	}
}
