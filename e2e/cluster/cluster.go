// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"torchbearer/e2e/process"
)

// NodeName is the name of the cluster's only node.
const NodeName = "node-1"

// Cluster is a whole Kubernetes of one node: control plane, controllers, scheduler, containerd, kubelet and kube-proxy,
// in namespaces of their own. Pods run in it, Services answer; there is no DNS and no registry.
type Cluster struct {
	*ControlPlane

	dir        string
	namespaces *namespaces
	cgroup     string
	programs   map[string]*process.Process // that run inside, by name
}

// Missing says what this machine lacks for a Cluster, as a reason to skip a test; "" is nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "a cluster with containers needs root: it makes namespaces, mounts and cgroups"
	}
	for _, program := range []string{"unshare", "nsenter", "ip", "iptables", "containerd", "ctr", "runc", "conntrack"} {
		if _, err := exec.LookPath(program); err != nil {
			return "a cluster with containers needs the program " + program + "; e2e/packages.sh installs it on Debian"
		}
	}
	if networkPlugins() == "" {
		return "a cluster with containers needs the network plugins; e2e/packages.sh installs them on Debian"
	}
	if out, err := exec.CommandContext(context.Background(), "unshare", "--mount", "--pid", "--net", "--fork", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("a cluster with containers needs namespaces, which cannot be made here: %v: %s", err, out)
	}
	return ""
}

func networkPlugins() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// Start runs a cluster and waits until its node is ready; dir is an existing folder for its files. The caller has to
// Close it.
func Start(ctx context.Context, dir string) (*Cluster, error) {
	inside, err := newNamespaces(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		dir: dir, namespaces: inside, cgroup: cgroupPrefix + strconv.Itoa(inside.pid),
		programs: map[string]*process.Process{},
		ControlPlane: &ControlPlane{
			place: inside, dir: dir, address: NodeAddress + ":6443",
			flags: []string{"--endpoint-reconciler-type=lease"},
		},
	}
	sweepCgroups("")
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := makeCgroup(c.cgroup); err != nil {
		return fmt.Errorf("make a cgroup for the cluster: %w", err)
	}
	// Addresses are the cluster's own: its network is not this machine's. 10.96.0.1 is the Service of the API server.
	err := c.open(ctx, "127.0.0.1:2379", "127.0.0.1:2380", NodeAddress, "10.96.0.1")
	if err != nil {
		return err
	}
	if err := c.startControllers(ctx); err != nil {
		return err
	}
	if err := c.startContainers(ctx); err != nil {
		return err
	}
	if err := c.startNode(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 180*time.Second)
	defer cancel()
	err = c.programs["kubelet"].Until(ctx, func() error { return c.nodeReady(ctx) })
	if err != nil {
		return fmt.Errorf("wait for the node: %w\n%s", err, c.programs["kubelet"].Tail(30))
	}
	return nil
}

func (c *Cluster) nodeReady(ctx context.Context) error {
	node, err := c.Client().CoreV1().Nodes().Get(ctx, NodeName, meta.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == core.NodeReady && condition.Status == core.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the node is not ready: %v", node.Status.Conditions)
}

// run starts a neighbour inside, under its name.
func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	program, err := process.Neighbour(name)
	if err != nil {
		return err
	}
	c.programs[name], err = c.namespaces.start(ctx, program, args...)
	return err
}

// Close ends everything that runs inside, pods included, and removes what they have left.
func (c *Cluster) Close() error {
	c.namespaces.close()
	for _, p := range c.programs {
		p.Close()
	}
	var err error
	if c.transport != nil {
		err = c.ControlPlane.Close()
	}
	// What was killed takes a moment to end.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		sweepCgroups(c.cgroup)
		if !hasCgroup(c.cgroup) || time.Now().After(deadline) {
			return err
		}
	}
}

// Inside calls f on a thread in the network of the cluster: what f itself listens on is reachable from pods, at
// NodeAddress, and from nowhere else.
func (c *Cluster) Inside(f func() error) error { return c.namespaces.inside(f) }

// Dial connects to host:port inside, where host is an address.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.namespaces.dial(ctx, network, address)
}

// Program starts a program in the namespaces of the cluster; the end of the cluster ends it too.
func (c *Cluster) Program(ctx context.Context, path string, args ...string) (*process.Process, error) {
	return c.namespaces.start(ctx, path, args...)
}

// Command runs a program in the namespaces of the cluster to its end, as its administrator, and returns its output.
func (c *Cluster) Command(ctx context.Context, path string, args ...string) (string, error) {
	return c.namespaces.run(ctx, "env", append([]string{"KUBECONFIG=" + c.Kubeconfig(), path}, args...)...)
}

// Logs is what the programs of the cluster have written last, for a test that has failed.
func (c *Cluster) Logs() string {
	var text strings.Builder
	fmt.Fprintf(&text, "kube-apiserver:\n%s", c.Log())
	for name, p := range c.programs {
		fmt.Fprintf(&text, "\n%s:\n%s", name, p.Tail(25))
	}
	return text.String()
}
