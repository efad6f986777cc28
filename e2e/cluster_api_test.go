// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	kube "torchbearer/e2e/cluster"
)

// A sufferer is an agent whose API server misbehaves.
type sufferer struct {
	*nodeAgent
	name  string
	front *kube.Front
	pods  int // created so far
	rule  func(*http.Request) *kube.Fault
}

// status is what an API server answers with instead of what was asked for.
func status(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"the test wants it so","code":%d}`,
		reason, code)
}

func refuse(code int, reason string) func(*http.Request) *kube.Fault {
	fault := &kube.Fault{Status: code, Body: status(code, reason)}
	if code == http.StatusTooManyRequests {
		fault.Header = http.Header{"Retry-After": {"1"}}
	}
	return func(*http.Request) *kube.Fault { return fault }
}

// apiFaults are what the API servers of the agents do, by name.
func apiFaults() map[string]func(*http.Request) *kube.Fault {
	return map[string]func(*http.Request) *kube.Fault{
		"slow":         func(*http.Request) *kube.Fault { return &kube.Fault{Delay: 3 * time.Second} },
		"unauthorized": refuse(http.StatusUnauthorized, "Unauthorized"),
		"forbidden":    refuse(http.StatusForbidden, "Forbidden"),
		"gone":         refuse(http.StatusGone, "Expired"),
		"too many":     refuse(http.StatusTooManyRequests, "TooManyRequests"),
		"expired watch": func(r *http.Request) *kube.Fault {
			if r.URL.Query().Get("watch") == "" {
				return nil
			}
			return &kube.Fault{Status: http.StatusOK, Body: `{"type":"ERROR","object":` + status(410, "Expired") + "}\n"}
		},
		"no answer": func(*http.Request) *kube.Fault { return &kube.Fault{Delay: time.Hour} },
	}
}

// TestAPIFaults has the API server of each of some agents misbehave in its own way for a while, and then the API server
// of all restart: pods that are known are scraped all the time, new ones are found afterwards.
func TestAPIFaults(t *testing.T) {
	c := startControlPlane(t)
	static := startTarget(t, &counter{metric: "cluster_static"})
	var all []*sufferer
	for name, rule := range apiFaults() {
		all = append(all, newSufferer(t, c, len(all), name, static, rule))
	}
	expiring := newSufferer(t, c, len(all), "expired token", static, nil)
	const life = 30 * time.Second
	if err := expiring.account.Renew(life); err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(life)
	// Alone, so that it has found its pod before its token ends.
	expiring.start(t)
	wantFound(t, []*sufferer{expiring})
	for _, s := range all {
		s.start(t)
	}
	all = append(all, expiring)
	wantFound(t, all)
	wait(t, time.Until(expires)+2*time.Second)

	since := time.Now()
	for _, s := range all {
		s.front.Obey(s.rule)
	}
	wait(t, 6*time.Second)
	for _, s := range all {
		if s.rule != nil {
			until(t, 60*time.Second, s.name+": a request is hurt", func(context.Context) error {
				return atLeast("requests", s.front.Hurt(), 1)
			})
		}
		if s == expiring {
			until(t, 60*time.Second, "the API server refuses the expired token", func(context.Context) error {
				return atLeast("refused requests", s.front.Refused(), 1)
			})
		}
		s.create(t, c)
		s.front.Obey(nil)
	}
	if err := expiring.account.Renew(time.Hour); err != nil {
		t.Fatal(err)
	}
	wantFound(t, all)
	wantUnhurt(t, all, since)

	since = time.Now()
	c.KillAPI()
	wait(t, 2*time.Second)
	if err := c.StartAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.create(t, c)
	}
	wantFound(t, all)
	wantUnhurt(t, all, since)
}

// wait lets a time pass in which something is meant to go on.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func newSufferer(t *testing.T, c *kube.ControlPlane, i int, name, static string, rule func(*http.Request) *kube.Fault) *sufferer {
	t.Helper()
	front, err := c.StartFront()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := front.Close(); err != nil {
			t.Error(err)
		}
	})
	node := fmt.Sprintf("node-%d", i)
	if err := c.CreateNode(t.Context(), node, "127.4.0.1", 10250); err != nil {
		t.Fatal(err)
	}
	s := &sufferer{name: name, front: front, rule: rule}
	s.nodeAgent = newNodeAgentAt(t, c, node, front.URL(), func(kubeconfig, url string) string {
		return global(time.Second) + remoteWrite(url, soon, messageV2) + jobs(
			kubernetesJob("pods", "pod", kubeconfig, relabel(label("pod", "__meta_kubernetes_pod_name"))),
			job("static", []string{static}),
		)
	})
	s.create(t, c)
	return s
}

// create makes another pod on the agent's node.
func (s *sufferer) create(t *testing.T, c *kube.ControlPlane) {
	t.Helper()
	pod := kube.Pod{Name: fmt.Sprintf("%s-pod-%d", s.node, s.pods), Node: s.node, IP: "127.4.0.2"}
	pod.Port = serveAt(t, pod.IP+":0", &counter{metric: "pod_value"})
	if err := c.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	s.pods++
}

// wantFound waits until every pod of each agent has arrived.
func wantFound(t *testing.T, all []*sufferer) {
	t.Helper()
	begin := time.Now()
	for _, s := range all {
		s.until(t, 90*time.Second, s.name+": all pods are scraped", func(context.Context) error {
			return atLeast("pods", len(s.dest.Match("__name__", "pod_value")), s.pods)
		})
		t.Logf("%s: %d pods are scraped after %s", s.name, s.pods, time.Since(begin).Round(time.Millisecond))
	}
}

// wantUnhurt checks that the first pod of each agent was scraped all the time.
func wantUnhurt(t *testing.T, all []*sufferer, since time.Time) {
	t.Helper()
	for _, s := range all {
		wantSteady(t, s.dest, since, "__name__", "pod_value", "pod", s.node+"-pod-0")
	}
}
