// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

const insideVariable = "TORCHBEARER_E2E_INSIDE"

// communityArgs are what server.defaultFlagsOverride of the prometheus-community chart says in the release that is
// taken over, and the one flag that is added with the image.
func communityArgs() []string {
	return []string{
		"--enable-feature=agent", "--config.file=/etc/config/prometheus.yaml", "--web.enable-lifecycle",
		"--config.ignore-server-sections",
	}
}

// TestCommunityChart runs the in-cluster release of the prometheus-community chart in agent mode, a Deployment of one
// replica, with only the image changed: its arguments, its rendered config, its folders and users, its permissions at
// a real API server. All of it in a network of its own, as the arguments leave the port 9090 and the URL port 443.
func TestCommunityChart(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideVariable) != "" {
		communityInside(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give the agent the root folder, the user and the network that it has in its container")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The agent learns the name of its pod from the name of the machine.
	script := `ip link set lo up && echo prometheus-server-6d5b8c9f7d-x2v4z >/proc/sys/kernel/hostname && exec "$@"`
	inside, err := process.Start(t.Context(), process.Options{Path: "unshare", Env: []string{insideVariable + "=1"}, Args: []string{
		"--net", "--uts", "sh", "-c", script, "sh", self, "-test.run=^TestCommunityChart$", "-test.v", "-test.count=1", "-test.timeout=4m",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inside.Close)
	code, err := inside.Wait(5 * time.Minute)
	if err != nil || code != 0 || !strings.Contains(inside.Output(), "--- PASS: TestCommunityChart") {
		t.Fatalf("in a network of its own: exit code %d, %v\n%s", code, err, inside.Output())
	}
}

func communityInside(t *testing.T) {
	t.Helper()
	dir, root := t.TempDir(), t.TempDir()
	control, account := communityCluster(t, dir)
	dest := communityReceiver(t, root)
	a := communityAgent(t, root, control, account, filepath.Join(dir, "pki", "ca.crt"))
	a.until(t, 60*time.Second, "the agent is ready", func(ctx context.Context) error {
		return process.Answers(ctx, a.url+"/-/ready")
	})

	labels := []string{"clustername", "Test01", "environment", "Test"}
	wantArrives(t, a, dest, append(labels, "__name__", "up", "job", "prometheus", "instance", "localhost:9090")...)
	// Pods of two nodes: a Deployment's only pod scrapes them all.
	for _, pod := range []string{"app-0", "app-1"} {
		found := wantArrives(t, a, dest, append(labels, "__name__", "app", "job", "kubernetes-pods", "pod", pod, "namespace", "default")...)
		if got := found[0].Labels.Get("exported_environment"); got != "spoofed" {
			t.Errorf("the pod's own label environment is kept as %q", got)
		}
	}
	if got := dest.Match("environment", "spoofed"); len(got) > 0 {
		t.Errorf("a pod has moved series to another environment: %v", got)
	}
	if _, err := os.Stat(filepath.Join(root, "data", "data-agent", "wal")); err != nil {
		t.Errorf("the log is not on the volume that the chart mounts: %v", err)
	}

	// What the chart's side-car does after a ConfigMap has changed.
	text := communityConfig(t)
	mountConfigMap(t, root, "..2", strings.Replace(text, "job_name: prometheus\n", "job_name: renamed\n", 1))
	status, body, err := process.Post(t.Context(), "http://127.0.0.1:9090/-/reload")
	if err != nil || status != http.StatusOK {
		t.Fatalf("the reload is answered %d: %s (%v)", status, body, err)
	}
	wantArrives(t, a, dest, append(labels, "__name__", "up", "job", "renamed")...)
	stop(t, a)
}

// communityCluster runs an API server with two nodes, an annotated pod on each, the agent's own pod, and the chart's
// service account and role.
func communityCluster(t *testing.T, dir string) (*kube.ControlPlane, *kube.Account) {
	t.Helper()
	control, err := kube.StartControlPlane(t.Context(), kube.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	account, err := control.CreateAccount(t.Context(), "monitoring", "prometheus-server", "")
	if err != nil {
		t.Fatal(err)
	}
	watch := []string{"get", "list", "watch"}
	err = control.Allow(t.Context(), "prometheus-server", "monitoring", true,
		rbac.PolicyRule{APIGroups: []string{""}, Verbs: watch, Resources: []string{
			"nodes", "nodes/proxy", "nodes/metrics", "services", "endpoints", "pods", "ingresses", "configmaps",
		}},
		rbac.PolicyRule{APIGroups: []string{"networking.k8s.io"}, Verbs: watch, Resources: []string{"ingresses", "ingresses/status"}},
		rbac.PolicyRule{APIGroups: []string{"discovery.k8s.io"}, Verbs: watch, Resources: []string{"endpointslices"}},
		rbac.PolicyRule{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}})
	if err != nil {
		t.Fatal(err)
	}
	target := startTarget(t, exposes(plain, "app 1\n"))
	host, port, _ := strings.Cut(target, ":")
	for i, name := range []string{"app-0", "app-1"} {
		node := "node-" + name
		err := errors.Join(control.CreateNode(t.Context(), node, "127.0.1."+string(rune('1'+i)), 10250),
			control.CreatePod(t.Context(), kube.Pod{
				Name: name, Node: node, IP: host, Labels: map[string]string{"environment": "spoofed"},
				Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": port},
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	truth := true
	own := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: hostname, OwnerReferences: []meta.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "prometheus-server-6d5b8c9f7d", UID: "1", Controller: &truth,
		}}},
		Spec: core.PodSpec{NodeName: "node-app-0", Containers: []core.Container{{Name: "prometheus-server", Image: "torchbearer"}}},
	}
	if _, err := control.Client().CoreV1().Pods("monitoring").Create(t.Context(), own, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return control, account
}

// communityReceiver is the central behind its ingress: TLS on port 443, by a name that the container's /etc/hosts has
// and a certificate among those that the image trusts.
func communityReceiver(t *testing.T, root string) *receiver.Receiver {
	t.Helper()
	dest := startReceiver(t)
	c := &chain{dir: t.TempDir()}
	c.makeCertificate(t)
	place := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, text)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := os.ReadFile(c.ca)
	if err != nil {
		t.Fatal(err)
	}
	place("etc/ssl/certs/ca-certificates.crt", string(certificate))
	place("etc/hosts", "127.0.0.1 localhost prometheus-server.example.com\n")
	inner, err := url.Parse(dest.URL())
	if err != nil {
		t.Fatal(err)
	}
	ingress := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL = inner },
	}
	server := &http.Server{Addr: "127.0.0.1:443", Handler: ingress, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() {
		ended <- server.ListenAndServeTLS(c.ca, strings.TrimSuffix(c.ca, ".crt")+".key")
	}()
	t.Cleanup(func() {
		_ = server.Close() // What Serve says tells more.
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return dest
}

// communityConfig is the chart's prometheus.yml, only quicker.
func communityConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/community/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return substitute(t, string(text), "scrape_interval: 1m", "scrape_interval: 1s", "scrape_timeout: 10s", "scrape_timeout: 1s")
}
