// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"sync"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Pod is a pod without containers that run: an object on a node, with the address of something that answers.
type Pod struct {
	Name        string
	Namespace   string // "" is default
	Node        string
	IP          string // "" is a pod that has no address yet
	Port        int32  // of its only container; 0 is none
	Labels      map[string]string
	Annotations map[string]string
	Phase       core.PodPhase // "" is Running
	HostNetwork bool
}

// CreateNode makes a node that is Ready and has this address, where its kubelet would listen on this port.
func (c *ControlPlane) CreateNode(ctx context.Context, name, address string, port int32) error {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{
		Name: name, Labels: map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
	}}
	made, err := c.client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create node %s: %w", name, err)
	}
	made.Status = core.NodeStatus{
		Addresses: []core.NodeAddress{
			{Type: core.NodeInternalIP, Address: address}, {Type: core.NodeHostName, Address: name},
		},
		Conditions:      []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue}},
		DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: port}},
	}
	_, err = c.client.CoreV1().Nodes().UpdateStatus(ctx, made, meta.UpdateOptions{})
	return err
}

// CreatePod makes a pod and tells of it what the kubelet would.
func (c *ControlPlane) CreatePod(ctx context.Context, p Pod) error {
	if p.Namespace == "" {
		p.Namespace = core.NamespaceDefault
	}
	if p.Phase == "" {
		p.Phase = core.PodRunning
	}
	pods := c.client.CoreV1().Pods(p.Namespace)
	made, err := pods.Create(ctx, p.object(), meta.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create pod %s: %w", p.Name, err)
	}
	made.Status = p.status()
	_, err = pods.UpdateStatus(ctx, made, meta.UpdateOptions{})
	return err
}

func (p Pod) object() *core.Pod {
	container := core.Container{Name: "main", Image: "none"}
	if p.Port != 0 {
		port := core.ContainerPort{Name: "metrics", ContainerPort: p.Port, Protocol: core.ProtocolTCP}
		if p.HostNetwork {
			port.HostPort = p.Port
		}
		container.Ports = []core.ContainerPort{port}
	}
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, Annotations: p.Annotations,
		},
		Spec: core.PodSpec{NodeName: p.Node, Containers: []core.Container{container}, HostNetwork: p.HostNetwork},
	}
}

func (p Pod) status() core.PodStatus {
	ready := core.ConditionFalse
	if p.Phase == core.PodRunning && p.IP != "" {
		ready = core.ConditionTrue
	}
	status := core.PodStatus{Phase: p.Phase, Conditions: []core.PodCondition{{Type: core.PodReady, Status: ready}}}
	if p.IP != "" {
		status.PodIP, status.PodIPs = p.IP, []core.PodIP{{IP: p.IP}}
	}
	return status
}

// Each calls f for 0 to n-1, several at once, and returns the first error.
func Each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	const workers = 48 // Enough to keep an API server on two processors busy.
	numbers := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range numbers {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		numbers <- i
	}
	close(numbers)
	group.Wait()
	return context.Cause(ctx)
}
