// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
)

// wantJobs waits until what each job of the chart scrapes has arrived at the central, with the mandatory labels.
func wantJobs(t *testing.T, i *installation) {
	t.Helper()
	own := fmt.Sprintf(`clustername=%q,environment=%q`, cluster, environment)
	for _, want := range []string{
		`kubelet_running_pods{job="kubelet",node="` + kube.NodeName + `",%s} > 4`,
		`container_cpu_usage_seconds_total{job="cadvisor",namespace="default",pod="annotated",container="main",%s}`,
		`target_scrapes{job="kubernetes-pods",namespace="default",pod="annotated",%s}`,
		`target_scrapes{job="kube-dns",pod="coredns",%s}`,
		`target_scrapes{job="node",instance="` + kube.NodeName + `",%s}`,
		`target_scrapes{job="kube-state-metrics",%s}`,
		`apiserver_request_total{job="kube-apiserver",%s}`,
		`torchbearer_lease_held{job="torchbearer",%s} == 1`,
	} {
		expression := fmt.Sprintf(want, own)
		until(t, 120*time.Second, "at the central there is "+expression, func(ctx context.Context) error {
			found, err := process.Query(ctx, i.central, expression)
			if err == nil && len(found) == 0 {
				err = errors.New("nothing found; " + i.health(ctx))
			}
			return err
		})
	}
	for expression, what := range map[string]string{
		`{__name__!="",clustername!="` + cluster + `"} or {__name__!="",environment!="` + environment + `"}`: "series without the mandatory labels",
		`target_scrapes{pod="silent"}`: "a pod without annotation",
	} {
		if found, err := process.Query(t.Context(), i.central, expression); err != nil || len(found) > 0 {
			t.Errorf("%s: %v, %v", what, found, err)
		}
	}
	// A busy machine may be too slow for one scrape of a target, not for all.
	until(t, 120*time.Second, "all targets can be scraped", func(ctx context.Context) error {
		found, err := process.Query(ctx, i.central, `max_over_time(up[5m]) == 0`)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("these cannot: %v", found)
		}
		return err
	})
}

// health is what the agent says of its targets.
func (i *installation) health(ctx context.Context) string {
	var all targets
	url, stop, err := i.agentURL(ctx)
	if err != nil {
		return err.Error()
	}
	defer stop()
	if err := process.API(ctx, url+"/api/v1/targets?state=active", &all); err != nil {
		return err.Error()
	}
	var text []string
	for _, a := range all.Active {
		text = append(text, fmt.Sprintf("%s %s %s %s", a.ScrapePool, a.ScrapeURL, a.Health, a.LastError))
	}
	return strings.Join(text, "; ")
}

// agentURL is a way to the agent that runs now; stop ends it.
func (i *installation) agentURL(ctx context.Context) (url string, stop func(), err error) {
	pod, err := i.agentPod(ctx)
	if err != nil {
		return "", nil, err
	}
	wire, err := i.StartWireTo(pod.Status.PodIP + ":9090") //nolint:contextcheck // It is stop that ends it.
	if err != nil {
		return "", nil, err
	}
	return "http://" + wire.Address(), func() { _ = wire.Close() }, nil // It was only for a question.
}

// shows says whether the config that the agent runs with has this text.
func (i *installation) shows(ctx context.Context, text string) error {
	url, stop, err := i.agentURL(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var config struct {
		YAML string `json:"yaml"`
	}
	if err := process.API(ctx, url+"/api/v1/status/config", &config); err != nil {
		return err
	}
	if !strings.Contains(config.YAML, text) {
		return fmt.Errorf("the agent's config is without %q", text)
	}
	return nil
}

// wantWatched changes the ConfigMap; the agent takes it by itself, in the same pod.
func (i *installation) wantWatched(t *testing.T) {
	t.Helper()
	before := i.podName(t)
	i.helm(t, "upgrade", "externalLabels.round=watched")
	until(t, 120*time.Second, "the agent takes the new config", func(ctx context.Context) error {
		return i.shows(ctx, "round: watched")
	})
	if after := i.podName(t); after != before {
		t.Errorf("the pod is %s, was %s: a new config replaced it", after, before)
	}
}

// wantUpgrade upgrades to another image, and to a file watch that does nothing within the test.
func (i *installation) wantUpgrade(t *testing.T, from string) {
	t.Helper()
	before := i.podName(t)
	i.helm(t, "upgrade", "image.tag="+nextTag, "configReloadInterval=1h")
	until(t, 120*time.Second, "the new agent runs", func(ctx context.Context) error {
		pod, err := i.agentPod(ctx)
		if err == nil && (pod.Name == before || !strings.HasSuffix(pod.Spec.Containers[0].Image, ":"+nextTag)) {
			err = fmt.Errorf("pod %s has the image %s, it was %s", pod.Name, pod.Spec.Containers[0].Image, from)
		}
		return err
	})
}

// wantReload changes the ConfigMap and asks for a reload until the file has reached the pod.
func (i *installation) wantReload(t *testing.T) {
	t.Helper()
	i.helm(t, "upgrade", "externalLabels.round=asked")
	until(t, 120*time.Second, "the agent reloads when it is asked", func(ctx context.Context) error {
		url, stop, err := i.agentURL(ctx)
		if err != nil {
			return err
		}
		defer stop()
		if status, body, err := process.Post(ctx, url+"/-/reload"); err != nil || status != 200 {
			return fmt.Errorf("the reload was answered %d: %s (%w)", status, body, err)
		}
		return i.shows(ctx, "round: asked")
	})
}

// wantReplaced deletes the agent's pod; another takes its place and its data.
func (i *installation) wantReplaced(t *testing.T) {
	t.Helper()
	before := i.podName(t)
	if err := i.Client().CoreV1().Pods(monitoring).Delete(t.Context(), before, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, 120*time.Second, "another pod sends", func(ctx context.Context) error {
		pod, err := i.agentPod(ctx)
		if err != nil {
			return err
		}
		found, err := process.Query(ctx, i.central, fmt.Sprintf(`up{job="torchbearer",pod=%q} == 1`, pod.Name))
		if err == nil && (pod.Name == before || len(found) == 0) {
			err = errors.New("not yet: " + pod.Name)
		}
		return err
	})
}

func (i *installation) podName(t *testing.T) string {
	t.Helper()
	pod, err := i.agentPod(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pod.Name
}

// failedScrapes are the times at which the agent gave a scrape of the annotated pod up, which a busy machine makes it do
// though the pod has answered: up is 0.
func (i *installation) failedScrapes(t *testing.T) (times []float64) {
	t.Helper()
	var data struct {
		Result []struct {
			Values [][2]any `json:"values"`
		} `json:"result"`
	}
	expression := `up{job="kubernetes-pods",pod="annotated"}[30m]`
	if err := process.API(t.Context(), i.central+"/api/v1/query?query="+expression, &data); err != nil {
		t.Fatal(err)
	}
	for _, series := range data.Result {
		for _, point := range series.Values {
			if at, _ := point[0].(float64); point[1] == "0" {
				times = append(times, at)
			}
		}
	}
	return times
}

// wantNothingMissing looks for scrapes that the annotated pod answered and the central does not have, over all that was
// done to the agent.
func (i *installation) wantNothingMissing(t *testing.T) {
	t.Helper()
	// Since the agents start sooner, the steps before are over sooner, too.
	until(t, 120*time.Second, "twenty scrapes", func(ctx context.Context) error {
		found, err := process.Query(ctx, i.central, `max(target_scrapes{job="kubernetes-pods",pod="annotated"}) > 20`)
		if err == nil && len(found) == 0 {
			err = errNotYet
		}
		return err
	})
	var data struct {
		Result []struct {
			Values [][2]any `json:"values"`
		} `json:"result"`
	}
	expression := `target_scrapes{job="kubernetes-pods",pod="annotated"}[30m]`
	if err := process.API(t.Context(), i.central+"/api/v1/query?query="+expression, &data); err != nil {
		t.Fatal(err)
	}
	seen := map[int]float64{}
	for _, series := range data.Result {
		for _, point := range series.Values {
			at, _ := point[0].(float64)
			text, _ := point[1].(string)
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatalf("a value is %v: %v", point, err)
			}
			if before, ok := seen[n]; ok {
				t.Errorf("scrape %d came for %v and for %v", n, before, at)
			}
			seen[n] = at
		}
	}
	numbers := slices.Sorted(maps.Keys(seen))
	if len(numbers) < 20 {
		t.Fatalf("the central has the scrapes %v", numbers)
	}
	failed := i.failedScrapes(t)
	var missing []int
	before := 0.0
	for n := 1; n <= numbers[len(numbers)-1]; n++ {
		at, ok := seen[n]
		if ok {
			before = at
			continue
		}
		after := seen[numbers[slices.IndexFunc(numbers, func(m int) bool { return m > n })]]
		gaveUp := func(at float64) bool { return at > before && at < after }
		if k := slices.IndexFunc(failed, gaveUp); k >= 0 {
			failed = slices.Delete(failed, k, k+1) // One for each.
			continue
		}
		missing = append(missing, n)
	}
	t.Logf("%d scrapes, missing %v", numbers[len(numbers)-1], missing)
	if len(missing) > 0 {
		t.Errorf("of %d scrapes these are missing: %v", numbers[len(numbers)-1], missing)
	}
}
