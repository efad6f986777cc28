// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"torchbearer/e2e/process"
)

// What runs inside keeps its state in memory: see setUp.
const (
	stateDir  = "/run/node"
	socket    = "/run/containerd/containerd.sock" // kubelet looks there for the labels of cAdvisor
	podCIDR   = "10.244.0.0/24"
	pauseName = "docker.io/local/pause:1"
)

// startControllers runs what makes objects come true.
func (c *Cluster) startControllers(ctx context.Context) error {
	manager, err := c.authority.writeKubeconfig("controllers", c.URL(),
		"system:kube-controller-manager", "system:kube-controller-manager")
	if err != nil {
		return err
	}
	scheduler, err := c.authority.writeKubeconfig("scheduler", c.URL(), "system:kube-scheduler", "system:kube-scheduler")
	if err != nil {
		return err
	}
	err = c.run(ctx, "kube-controller-manager", "--kubeconfig="+manager,
		"--authentication-kubeconfig="+manager, "--authorization-kubeconfig="+manager,
		"--service-account-private-key-file="+c.authority.path("sa.key"), "--root-ca-file="+c.authority.path("ca.crt"),
		"--use-service-account-credentials", "--cluster-cidr=10.244.0.0/16", "--allocate-node-cidrs",
		"--service-cluster-ip-range=10.96.0.0/16", "--leader-elect=false")
	if err != nil {
		return err
	}
	return c.run(ctx, "kube-scheduler", "--kubeconfig="+scheduler,
		"--authentication-kubeconfig="+scheduler, "--authorization-kubeconfig="+scheduler, "--leader-elect=false")
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE no pod would start otherwise.
const containerdConfig = `version = 2
root = "` + stateDir + `/containerd"
state = "/run/containerd"
[grpc]
  address = "` + socket + `"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "` + pauseName + `"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s"
    conf_dir = "%s"
`

const networkConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + podCIDR + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// startContainers runs containerd, and imports the image that every pod begins with.
func (c *Cluster) startContainers(ctx context.Context) error {
	network := filepath.Join(c.dir, "cni")
	if err := os.MkdirAll(network, 0o755); err != nil {
		return err
	}
	config := filepath.Join(c.dir, "containerd.toml")
	for file, text := range map[string]string{
		filepath.Join(network, "10-pods.conflist"): networkConfig,
		config: fmt.Sprintf(containerdConfig, networkPlugins(), network),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	started, err := c.namespaces.start(ctx, "containerd", "--config="+config)
	if err != nil {
		return err
	}
	c.programs["containerd"] = started
	limited, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	err = started.Until(limited, func() error {
		_, err := c.namespaces.run(limited, "ctr", "--address="+socket, "version")
		return err
	})
	if err != nil {
		return fmt.Errorf("start containerd: %w\n%s", err, started.Tail(20))
	}
	pause, err := process.Neighbour("pause")
	if err != nil {
		return err
	}
	return c.Import(ctx, Image{
		Name: pauseName, Entrypoint: []string{"/pause"}, User: "65535:65535", Files: map[string]string{"/pause": pause},
	})
}

// Import makes an image known to the node. Pods that use it say imagePullPolicy: Never or IfNotPresent.
func (c *Cluster) Import(ctx context.Context, image Image) error {
	archive, err := os.CreateTemp(c.dir, "image-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(archive.Name()) }() // The folder is removed with the test anyway.
	if err := image.write(archive); err != nil {
		return fmt.Errorf("write the image %s: %w", image.Name, err)
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if _, err := c.namespaces.run(ctx, "ctr", "--address="+socket, "--namespace=k8s.io",
		"images", "import", archive.Name()); err != nil {
		return fmt.Errorf("import the image %s: %w", image.Name, err)
	}
	return nil
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[1]s/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: %[1]s/kubelet.crt
tlsPrivateKeyFile: %[1]s/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
containerRuntimeEndpoint: unix://` + socket + `
failSwapOn: false
failCgroupV1: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, imagefs.available: 1%%}
podCIDR: ` + podCIDR + `
resolvConf: %[3]s
syncFrequency: 10s
configMapAndSecretChangeDetectionStrategy: Watch
`

// startNode runs kubelet and kube-proxy. Kubelet's certificate is of the cluster's authority, as where kubelets get
// theirs by a signing request, so that clients can verify it with what pods are given.
func (c *Cluster) startNode(ctx context.Context) error {
	if err := c.authority.issueFiles("kubelet", "system:node:"+NodeName, "system:nodes", NodeName, NodeAddress); err != nil {
		return err
	}
	kubelet, err := c.authority.writeKubeconfig("node", c.URL(), "system:node:"+NodeName, "system:nodes")
	if err != nil {
		return err
	}
	proxy, err := c.authority.writeKubeconfig("proxy", c.URL(), "system:kube-proxy", "system:kube-proxy")
	if err != nil {
		return err
	}
	names := filepath.Join(c.dir, "resolv.conf")
	if err := os.WriteFile(names, []byte("nameserver "+NodeAddress+"\n"), 0o600); err != nil {
		return err
	}
	config := filepath.Join(c.dir, "kubelet.yaml")
	text := fmt.Sprintf(kubeletConfig, c.authority.dir, c.cgroup, names)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	err = c.run(ctx, "kubelet", "--config="+config, "--kubeconfig="+kubelet, "--hostname-override="+NodeName,
		"--node-ip="+NodeAddress, "--root-dir="+stateDir+"/kubelet", "--cert-dir="+stateDir+"/kubelet-pki")
	if err != nil {
		return err
	}
	return c.run(ctx, "kube-proxy", "--kubeconfig="+proxy, "--hostname-override="+NodeName,
		"--cluster-cidr=10.244.0.0/16", "--proxy-mode=iptables", "--conntrack-max-per-core=0")
}
