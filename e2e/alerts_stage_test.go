// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// The clusters of the stage on which alerts fire.
const (
	wellCluster    = "weu-well"    // one agent, nothing is wrong
	mixedCluster   = "weu-mixed"   // n1 and n2 have different configs, n3 dies, node n4 has no agent
	silentCluster  = "weu-silent"  // one agent, which stops
	troubleCluster = "weu-trouble" // one agent, with all that can go wrong with one
	strayCluster   = "weu-stray"   // of another environment
)

// A fleet is agents of some clusters, and the central to which they write, which has the rules of deploy/central.
type fleet struct {
	central string
	agents  map[string]*agent // by cluster/node
	faults  *faults
}

// faults are the destinations of the agent in trouble, and what its targets say.
type faults struct {
	dead, refuses, skewed string
	old                   string // host:port of a target that shows another agent's heartbeats
}

// quicker makes a duration of a rule a sixtieth: an hour is a minute. Everything else in the rules stays as it is.
func quicker(text string) string {
	return regexp.MustCompile(`\b\d+[smhd]\b`).ReplaceAllStringFunc(text, func(d string) string {
		seconds := map[byte]int{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[d[len(d)-1]]
		n, _ := strconv.Atoi(d[:len(d)-1]) // It matches.
		return fmt.Sprintf("%dms", n*seconds*1000/60)
	})
}

// quickRules are the rules of deploy/central with their durations divided by 60; their texts stay.
func quickRules(t *testing.T) string {
	t.Helper()
	_, groups := readRules(t, rulesFile)
	for _, group := range groups.Groups {
		for i := range group.Rules {
			r := &group.Rules[i]
			r.Expr, r.For = quicker(r.Expr), quicker(r.For)
		}
	}
	text, err := yaml.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// startAlertingCentral runs a Prometheus with these rules, and what it expects, evaluated each second.
func startAlertingCentral(t *testing.T) string {
	t.Helper()
	path, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	writeFile(t, filepath.Join(dir, "rules.yml"), quickRules(t))
	writeFile(t, filepath.Join(dir, "expected.yml"), readDeploy(t, "central/rules/expected-prod.yml"))
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, "global: {evaluation_interval: 1s}\nrule_files: [rules.yml, expected.yml]\n"+
		"storage: {tsdb: {out_of_order_time_window: 24h}}\n")
	p := startProcess(t, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	if err := p.Until(ctx, func() error { return process.Answers(ctx, "http://"+address+"/-/ready") }); err != nil {
		t.Fatalf("start the central Prometheus: %v", err)
	}
	return "http://" + address
}

// startFaults serves what the agent in trouble writes to.
func startFaults(t *testing.T) *faults {
	t.Helper()
	refusing := receiver.New()
	refusing.SetBehaviour(func(int, *http.Request) *receiver.Answer {
		return &receiver.Answer{Status: http.StatusBadRequest, Body: "no such series here"}
	})
	taking := receiver.New()
	skewed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat))
		taking.ServeHTTP(w, r)
	})
	return &faults{
		dead: "http://" + freeAddress(t) + "/write", refuses: "http://" + startTarget(t, refusing) + "/write",
		skewed: "http://" + startTarget(t, skewed) + "/write", old: startTarget(t, otherHeartbeats()),
	}
}

// otherHeartbeats are those of two agents in two Kubernetes clusters, one of them of an older version: what the agents of
// this stage, which run outside Kubernetes and are of one build, cannot be.
func otherHeartbeats() http.Handler {
	var text strings.Builder
	for uid, version := range map[string]string{"uid-1": "0.0.9", "uid-2": "0.0.8"} {
		fmt.Fprintf(&text, "torchbearer_agent_info{job=%q,instance=%q,node=%q,version=%q,cluster_uid=%q,scope=\"all\"} 1\n",
			"torchbearer", "of-"+uid, "of-"+uid, version, uid)
	}
	return exposes(plain, text.String())
}

// grows is a target that shows one more series each time.
func grows() http.Handler {
	var shown atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plain)
		for i := range shown.Add(1) {
			_, _ = fmt.Fprintf(w, "grows{n=\"%d\"} 1\n", i)
		}
	})
}

// nodes is a target that shows these nodes as kube-state-metrics does.
func nodes(names ...string) http.Handler {
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "kube_node_info{node=%q,os_image=\"Ubuntu 24.04\",kubelet_version=\"v1.34.0\"} 1\n", name)
	}
	return exposes(plain, text.String())
}

// startAlertFleet runs all agents, and waits until the central has heard of those that will fall silent.
func startAlertFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{central: startAlertingCentral(t), agents: map[string]*agent{}, faults: startFaults(t)}
	central := f.central + "/api/v1/write"
	labels := "honor_labels: true"
	f.start(t, wellCluster, "n1", prod, jobs(job("kube-state-metrics", []string{startTarget(t, nodes("n1"))}, labels)), to("central", central))
	f.start(t, mixedCluster, "n1", prod, jobs(job("kube-state-metrics", []string{startTarget(t, nodes("n1", "n2", "n3", "n4"))}, labels),
		job("down", []string{freeAddress(t)})), to("central", central))
	f.start(t, mixedCluster, "n2", prod, "", to("central", central))
	f.start(t, mixedCluster, "n3", prod, "", to("central", central))
	f.start(t, silentCluster, "n1", prod, "", to("central", central))
	f.start(t, strayCluster, "n1", nonprod, "", to("central", central))
	f.start(t, troubleCluster, "n1", prod, "agent: {limits: {job_max_series: {grows: 9}}}\n"+
		jobs(job("other", []string{f.faults.old}, labels), job("grows", []string{startTarget(t, grows())})),
		to("central", central)+to("dead", f.faults.dead)+to("refuses", f.faults.refuses)+to("skewed", f.faults.skewed),
		"--storage.agent.max-bytes=16MiB")
	until(t, 120*time.Second, "the central has heard of all agents", func(ctx context.Context) error {
		heard, err := process.Query(ctx, f.central, `count(instance:torchbearer_agent_heartbeat_timestamp_seconds:max{instance=~"n.*"})`)
		if err == nil && (len(heard) != 1 || heard[0].Float() != float64(len(f.agents))) {
			err = fmt.Errorf("heard: %v of %d", heard, len(f.agents))
		}
		return err
	})
	return f
}

// to is a destination as an item of remote_write.
func to(name, url string) string {
	return fmt.Sprintf("- url: %s\n  name: %s\n  %s\n  %s\n", url, name, messageV2, soon)
}

// start runs an agent of a cluster that also scrapes itself, as the chart's job torchbearer has it.
func (f *fleet) start(t *testing.T, cluster, node, env, scrapes, destinations string, flags ...string) {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	a := &agent{url: "http://" + address, dir: dir, config: filepath.Join(dir, "torchbearer.yaml"), data: filepath.Join(dir, "data")}
	if scrapes == "" {
		scrapes = jobs()
	}
	own := fmt.Sprintf("- job_name: torchbearer\n  file_sd_configs: [{files: [%s]}]\n", filepath.Join(dir, "own.json"))
	writeFile(t, filepath.Join(dir, "own.json"), fmt.Sprintf(`[{"targets": [%q], "labels": {"node": %q, "pod": %q}}]`, address, node, "torchbearer-"+node))
	writeFile(t, a.config, instead(cluster, env)+scrapes+own+"remote_write:\n"+destinations)
	p, err := process.Start(t.Context(), process.Options{
		Path: torchbearer(t), Env: []string{"NODE_NAME=" + node},
		Args: append([]string{
			"--config.file=" + a.config, "--storage.agent.path=" + a.data, "--web.listen-address=" + address,
			"--web.enable-lifecycle", "--heartbeat.interval=1s",
		}, flags...),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Process = p
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Logf("the last lines of the agent %s/%s:\n%s", cluster, node, p.Tail(15))
		}
	})
	f.agents[cluster+"/"+node] = a
}

// breakThings does what this stage is for.
func (f *fleet) breakThings(t *testing.T) {
	t.Helper()
	f.agents[mixedCluster+"/n3"].Close() // Killed.
	if _, err := f.agents[silentCluster+"/n1"].Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	trouble := f.agents[troubleCluster+"/n1"]
	writeFile(t, trouble.config, "scrape_configs: 7\n")
	if status, body, err := process.Post(t.Context(), trouble.url+"/-/reload"); err != nil || status != http.StatusBadRequest {
		t.Fatalf("a reload of a broken config is answered %d, %v: %s", status, err, body)
	}
}

var errNoData = errors.New("no data")
