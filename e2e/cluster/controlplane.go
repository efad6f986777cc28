// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a real Kubernetes beside the tests: only etcd and the API server (ControlPlane), in which nodes
// and pods are mere objects, or a whole cluster of one machine with containers (Cluster).
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"torchbearer/e2e/process"
)

// Options says how a control plane is started.
type Options struct {
	Dir   string   // an existing folder for its files
	Flags []string // further flags of the API server
}

// ControlPlane is etcd and the API server.
type ControlPlane struct {
	authority *authority
	place     place
	dir       string
	address   string // host:port of the API server
	flags     []string
	etcd      *process.Process
	api       *process.Process
	transport *http.Transport // the administrator's
	client    *kubernetes.Clientset
}

// A place is where the programs of a cluster run: this machine, or namespaces of their own.
type place interface {
	start(ctx context.Context, program string, args ...string) (*process.Process, error)
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// host runs programs as they are.
type host struct{}

func (host) start(ctx context.Context, program string, args ...string) (*process.Process, error) {
	return process.Start(ctx, process.Options{Path: program, Args: args})
}

func (host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// StartControlPlane runs etcd and an API server on free ports of 127.0.0.1. Nothing schedules pods, makes tokens'
// secrets or looks after nodes there: what is created stays as it is. The caller has to Close it.
func StartControlPlane(ctx context.Context, options Options) (*ControlPlane, error) {
	addresses := make([]string, 3)
	for i := range addresses {
		address, err := process.FreeAddress(ctx)
		if err != nil {
			return nil, err
		}
		addresses[i] = address
	}
	// Admission that waits for controllers which do not run would refuse every pod; limits of requests would only
	// slow down a test that creates thousands.
	flags := append([]string{
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,DefaultTolerationSeconds",
		"--endpoint-reconciler-type=none", // an address of the loopback is none for a Service
		"--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0",
	}, options.Flags...)
	c := &ControlPlane{place: host{}, dir: options.Dir, address: addresses[0], flags: flags}
	return c, c.open(ctx, addresses[1], addresses[2], "127.0.0.1")
}

// open makes the keys and starts both programs; after an error nothing of them runs.
func (c *ControlPlane) open(ctx context.Context, clients, peers string, hosts ...string) error {
	authority, err := newAuthority(filepath.Join(c.dir, "pki"))
	if err != nil {
		return err
	}
	c.authority = authority
	if err := c.connect(hosts); err != nil {
		return err
	}
	program, err := process.Neighbour("etcd")
	if err != nil {
		return err
	}
	c.etcd, err = c.place.start(ctx, program, "--data-dir="+filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://"+clients, "--advertise-client-urls=http://"+clients,
		"--listen-peer-urls=http://"+peers, "--initial-advertise-peer-urls=http://"+peers,
		"--initial-cluster=default=http://"+peers, "--log-level=error")
	if err != nil {
		return err
	}
	c.flags = append(c.apiFlags(clients), c.flags...)
	if err := c.StartAPI(ctx); err != nil {
		return errors.Join(fmt.Errorf("%w\netcd:\n%s", err, c.etcd.Tail(20)), c.Close())
	}
	return nil
}

// connect issues the certificates of the API server and its administrator, and makes the latter's client.
func (c *ControlPlane) connect(hosts []string) error {
	names := append([]string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}, hosts...)
	if err := c.authority.issueFiles("apiserver", "kube-apiserver", "kubernetes", names...); err != nil {
		return err
	}
	if err := c.authority.issueFiles("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"); err != nil {
		return err
	}
	admin, err := c.authority.issue("admin", "system:masters")
	if err != nil {
		return err
	}
	config := c.authority.kubeconfig(c.URL(), "default", Identity{pair: &admin})
	if err := os.WriteFile(c.Kubeconfig(), []byte(config), 0o600); err != nil {
		return err
	}
	tlsConfig, err := c.authority.clientTLS(&admin)
	if err != nil {
		return err
	}
	// A transport of our own: those of client-go stay open in a cache until the process ends.
	c.transport = &http.Transport{
		TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true, DialContext: c.place.dial,
		MaxIdleConnsPerHost: 64,
	}
	rests := &rest.Config{Host: c.URL(), QPS: -1, Transport: c.transport}
	rests.ContentType = "application/vnd.kubernetes.protobuf"
	rests.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.client, err = kubernetes.NewForConfig(rests)
	return err
}

func (c *ControlPlane) apiFlags(etcd string) []string {
	host, port, _ := net.SplitHostPort(c.address) // We put it together ourselves.
	return []string{
		"--etcd-servers=http://" + etcd, "--bind-address=" + host, "--secure-port=" + port,
		"--advertise-address=" + host, "--service-cluster-ip-range=10.96.0.0/16",
		"--client-ca-file=" + c.authority.path("ca.crt"),
		"--tls-cert-file=" + c.authority.path("apiserver.crt"),
		"--tls-private-key-file=" + c.authority.path("apiserver.key"),
		"--service-account-key-file=" + c.authority.path("sa.pub"),
		"--service-account-signing-key-file=" + c.authority.path("sa.key"),
		"--service-account-issuer=" + issuer,
		"--kubelet-client-certificate=" + c.authority.path("kubelet-client.crt"),
		"--kubelet-client-key=" + c.authority.path("kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.authority.path("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--allow-privileged=true", "--enable-admission-plugins=NodeRestriction",
		"--audit-policy-file=" + filepath.Join(c.dir, "audit-policy.yaml"),
		"--audit-log-path=" + c.auditLog(),
	}
}

// auditPolicy notes the requests of service accounts, and what kubelet asks about those who scrape it. Watches are noted
// as they begin, and again when they end.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, resources: [{group: authorization.k8s.io, resources: [subjectaccessreviews]}]}
- {level: Metadata, userGroups: [system:serviceaccounts]}
- {level: None}
`

// StartAPI starts the API server where KillAPI ended it, and waits until it is ready.
func (c *ControlPlane) StartAPI(ctx context.Context) error {
	program, err := process.Neighbour("kube-apiserver")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.dir, "audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	if c.api, err = c.place.start(ctx, program, c.flags...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 180*time.Second)
	defer cancel()
	err = c.api.Until(ctx, func() error { return c.ready(ctx) })
	if err != nil {
		return fmt.Errorf("start the API server: %w\n%s", err, c.api.Tail(20))
	}
	return nil
}

func (c *ControlPlane) ready(ctx context.Context) error {
	return c.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// KillAPI ends the API server as a crash would; etcd stays.
func (c *ControlPlane) KillAPI() {
	c.transport.CloseIdleConnections()
	c.api.Close()
}

// Close ends both programs.
func (c *ControlPlane) Close() error {
	for _, p := range []*process.Process{c.api, c.etcd} {
		if p != nil {
			p.Close()
		}
	}
	c.transport.CloseIdleConnections()
	return nil
}

// Client is the administrator's.
func (c *ControlPlane) Client() *kubernetes.Clientset { return c.client }

// Kubeconfig is the path of the administrator's.
func (c *ControlPlane) Kubeconfig() string { return filepath.Join(c.dir, "admin.kubeconfig") }

// URL is the API server's.
func (c *ControlPlane) URL() string { return "https://" + c.address }

// Address is host:port of the API server.
func (c *ControlPlane) Address() string { return c.address }

// Log is what the API server has written last.
func (c *ControlPlane) Log() string {
	lines := strings.Split(c.api.Tail(200), "\n")
	noise := func(line string) bool { return strings.HasPrefix(line, "I") || strings.HasPrefix(line, "W") }
	return strings.Join(slices.DeleteFunc(lines, noise), "\n")
}
