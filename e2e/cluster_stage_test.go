// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// What the chart calls its things in these tests.
const (
	monitoring  = "monitoring" // the namespace
	accountName = "agent-torchbearer"
	leaseName   = "agent-torchbearer"
)

// startControlPlane runs etcd and an API server in which the agents may do what the chart lets them.
func startControlPlane(t *testing.T) *kube.ControlPlane {
	t.Helper()
	c, err := kube.StartControlPlane(t.Context(), kube.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what the API server has said last:\n%s", c.Log())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.CreateNamespace(t.Context(), monitoring); err != nil {
		t.Fatal(err)
	}
	allowAsChart(t, c)
	return c
}

// A nodeAgent is an agent of one node of a control plane: a process here, with a service account, a receiver and a way
// to the API server of its own.
type nodeAgent struct {
	*agent
	node    string
	dest    *receiver.Receiver
	wire    *kube.Wire
	account *kube.Account
	program string // "" is the one under test
	flags   []string
}

// newNodeAgent prepares an agent that is not started yet. The config is written with the path of its kubeconfig and the
// URL of its receiver.
func newNodeAgent(t *testing.T, c *kube.ControlPlane, node string, config func(kubeconfig, url string) string) *nodeAgent {
	t.Helper()
	wire := startWire(t, c)
	a := newNodeAgentAt(t, c, node, wire.URL(), config)
	a.wire = wire
	return a
}

func startWire(t *testing.T, c *kube.ControlPlane) *kube.Wire {
	t.Helper()
	wire, err := c.StartWire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	})
	return wire
}

// newNodeAgentAt is newNodeAgent for an agent that finds the API server at this URL.
func newNodeAgentAt(t *testing.T, c *kube.ControlPlane, node, server string, config func(kubeconfig, url string) string) *nodeAgent {
	t.Helper()
	account, err := c.CreateAccount(t.Context(), monitoring, accountName, server)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := &nodeAgent{node: node, dest: startReceiver(t), account: account, agent: &agent{
		dir: dir, config: filepath.Join(dir, "torchbearer.yaml"), data: filepath.Join(dir, "data"),
	}}
	writeFile(t, a.config, config(account.Kubeconfig, a.dest.URL()))
	return a
}

// start runs the agent, anew where it has run before, as the kubelet would: with the name of its node.
func (a *nodeAgent) start(t *testing.T) {
	t.Helper()
	address := freeAddress(t)
	a.url = "http://" + address
	if a.program == "" {
		a.program = torchbearer(t)
	}
	a.Process = startProcess(t, "env", append([]string{
		"NODE_NAME=" + a.node, "POD_NAME=" + a.node, "POD_NAMESPACE=" + monitoring, "POD_UID=" + a.node,
		a.program, "--config.file=" + a.config, "--storage.agent.path=" + a.data,
		"--web.listen-address=" + address, "--web.enable-lifecycle", "--heartbeat.interval=0", "--kubernetes.kubeconfig=" + a.account.Kubeconfig,
		"--lease.name=" + leaseName,
	}, a.flags...)...)
}

func (a *nodeAgent) ready(t *testing.T) {
	t.Helper()
	a.until(t, 60*time.Second, "the agent of "+a.node+" is ready", func(ctx context.Context) error {
		return process.Answers(ctx, a.url+"/-/ready")
	})
}

func (a *nodeAgent) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := a.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// scopes is what /api/v1/status/scopes answers.
type scopes struct {
	Node  string `json:"node"`
	Scope string `json:"scope"`
	Lease *struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Identity  string `json:"identity"`
		Holder    string `json:"holder"`
		Held      bool   `json:"held"`
	} `json:"lease"`
	Jobs []struct {
		Job     string `json:"job"`
		Scope   string `json:"scope"`
		Scraped bool   `json:"scraped"`
		By      string `json:"by"`
		Reason  string `json:"reason"`
	} `json:"jobs"`
}

func (a *nodeAgent) scopes(ctx context.Context) (scopes, error) {
	var s scopes
	return s, process.API(ctx, a.url+"/api/v1/status/scopes", &s)
}

// A counter is a target whose only series shows how often it has been scraped.
type counter struct {
	metric  string
	answers atomic.Int64
}

func (c *counter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", plain)
	_, _ = fmt.Fprintf(w, "%s %d\n", c.metric, c.answers.Add(1))
}

// serveAt serves a target on this address until the test ends, and returns its port.
func serveAt(t *testing.T, address string, handler http.Handler) int32 {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	return port(t, listener.Addr().String())
}

func port(t *testing.T, address string) int32 {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

// createSlice makes an EndpointSlice with one endpoint, as the Service of a cluster-wide exporter has it. Loopback
// addresses are refused there: jobs have to set the address that answers.
func createSlice(t *testing.T, c *kube.ControlPlane, name string) {
	t.Helper()
	portName, port := "http", int32(8080)
	slice := &discovery.EndpointSlice{
		ObjectMeta:  meta.ObjectMeta{Name: name, Labels: map[string]string{discovery.LabelServiceName: name}},
		AddressType: discovery.AddressTypeIPv4,
		Endpoints:   []discovery.Endpoint{{Addresses: []string{"192.0.2.1"}}},
		Ports:       []discovery.EndpointPort{{Name: &portName, Port: &port}},
	}
	_, err := c.Client().DiscoveryV1().EndpointSlices("default").Create(t.Context(), slice, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// kubernetesJob is a job with one Kubernetes discovery; extra are further lines of the job, the first of
// them of the discovery where it is indented.
func kubernetesJob(name, role, kubeconfig string, extra ...string) string {
	return fmt.Sprintf("- job_name: %s\n  kubernetes_sd_configs:\n  - role: %s\n    kubeconfig_file: %q\n%s",
		name, role, kubeconfig, indent(2, extra))
}

// label is a relabel rule that keeps what discovery knows as a label.
func label(name, from string) string {
	return fmt.Sprintf("- {source_labels: [%s], target_label: %s}\n", from, name)
}

// relabel is the section of these rules.
func relabel(rules ...string) string {
	return "relabel_configs:\n" + strings.Join(rules, "")
}
