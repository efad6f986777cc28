// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Part says which jobs an agent takes part in.
type Part string

// The parts there are. Jobs of scope every are everybody's.
const (
	PartAll     Part = "all"
	PartNode    Part = "node"    // jobs of scope node
	PartCluster Part = "cluster" // jobs of scope cluster
)

// Place is where an agent runs. The zero value is outside Kubernetes.
type Place struct {
	Kubeconfig string // of the cluster; "" is what a pod has
	Node       string // "" when not told
	Pod        string // name, namespace and UID of the agent's pod
	Namespace  string
	PodUID     string
}

// place is what was found out: whose targets this agent scrapes.
type place struct {
	node   string // node jobs are narrowed to it; "" does not narrow
	lease  bool   // cluster jobs need the lease
	client kubernetes.Interface
	why    string // node jobs are not narrowed, or no lease is needed
}

// giveNodeName is how a pod is told its node.
const giveNodeName = "add to the agent's container `env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]`"

// serviceAccountNamespace is where a pod finds its namespace.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Locate finds out where the agent runs, which may need the API server: it waits
// for that until ctx is done. Call it once, before Run and Apply.
func (t *Targets) Locate(ctx context.Context) error {
	found, err := t.locate(ctx)
	if err != nil {
		return fmt.Errorf("find out which targets are this agent's: %w", err)
	}
	t.mu.Lock()
	t.place = found
	if found.lease {
		t.stand()
	}
	t.mu.Unlock()
	level.Info(t.logger).Log("msg", "whose targets are scraped here is decided", "node", found.node, "lease", found.lease, "scope", t.opts.Part, "note", found.why)
	return nil
}

func (t *Targets) locate(ctx context.Context) (place, error) {
	at := t.opts.Place
	client, err := connect(at.Kubeconfig)
	switch {
	case errors.Is(err, rest.ErrNotInCluster) && t.opts.Part != PartAll:
		return place{}, fmt.Errorf("--scrape.scope=%s, but this is no Kubernetes: name the cluster with --kubernetes.kubeconfig, or leave the flag out to scrape everything", t.opts.Part)
	case errors.Is(err, rest.ErrNotInCluster):
		return place{why: "not in Kubernetes, everything is scraped"}, nil
	case err != nil:
		return place{}, err
	case t.opts.Part == PartCluster:
		return place{lease: true, client: client}, nil
	case at.Node != "":
		if wrong := validation.IsDNS1123Subdomain(at.Node); len(wrong) > 0 {
			return place{}, fmt.Errorf("NODE_NAME %q is no name of a node: %s; %s", at.Node, strings.Join(wrong, ", "), giveNodeName)
		}
		return place{node: at.Node, lease: t.opts.Part == PartAll, client: client}, nil
	}
	if at.Pod == "" && at.Kubeconfig == "" {
		if at.Pod, err = os.Hostname(); err != nil {
			return place{}, fmt.Errorf("find the name of the agent's pod: %w; %s", err, giveNodeName)
		}
	}
	found := place{client: client, why: "NODE_NAME is not set, everything is scraped whole"}
	if at.Pod != "" {
		if found, err = t.locateByPod(ctx, client, namespace(at), at.Pod); err != nil {
			return place{}, err
		}
	}
	switch {
	case found.node == "" && t.opts.Part == PartNode:
		return place{}, fmt.Errorf("--scrape.scope=node needs the name of the node; %s", giveNodeName)
	case found.node != "" && t.opts.Part == PartAll:
		found.lease = true
	}
	return found, nil
}

// connect makes a client, for which the API server need not answer yet.
func connect(kubeconfig string) (kubernetes.Interface, error) {
	var cfg *rest.Config
	var err error
	if kubeconfig == "" {
		cfg, err = rest.InClusterConfig()
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes: %w", err)
	}
	cfg.UserAgent = "torchbearer/" + version.Version
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes: %w", err)
	}
	return client, nil
}

// namespace is that of the agent's pod, as far as it is known.
func namespace(at Place) string {
	if at.Namespace != "" {
		return at.Namespace
	}
	if at.Kubeconfig != "" {
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: at.Kubeconfig}
		ns, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).Namespace()
		if err == nil {
			return ns
		}
	}
	text, err := os.ReadFile(serviceAccountNamespace)
	if err != nil {
		return metav1.NamespaceDefault
	}
	return cmp.Or(strings.TrimSpace(string(text)), metav1.NamespaceDefault)
}

// locateByPod asks for the agent's own pod until there is an answer.
func (t *Targets) locateByPod(ctx context.Context, client kubernetes.Interface, namespace, name string) (place, error) {
	pause, last := time.Second, ""
	for {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		pod, err := client.CoreV1().Pods(namespace).Get(asking, name, metav1.GetOptions{})
		cancel()
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			found, err := decide(pod, name, err)
			found.client = client
			return found, err
		}
		if err.Error() != last {
			level.Warn(t.logger).Log("msg", "the agent's own pod cannot be read yet, and NODE_NAME is not set; nothing is scraped before", "pod", name, "namespace", namespace, "err", err)
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return place{}, fmt.Errorf("read pod %s/%s: %w", namespace, name, ctx.Err())
		case <-time.After(pause):
			pause = min(2*pause, 15*time.Second)
		}
	}
}

// notOfDaemonSet knows the names that Deployments and StatefulSets give to
// their pods; a DaemonSet's have only five letters behind its name.
func notOfDaemonSet(pod string) bool {
	const letters = "[bcdfghjklmnpqrstvwxz2456789]" // apimachinery's rand.String
	return regexp.MustCompile(`-` + letters + `{8,10}-` + letters + `{5}$|-[0-9]{1,4}$`).MatchString(pod)
}

// decide tells from the agent's pod, or from the error of reading it, whether
// there is one agent on each node.
func decide(pod *core.Pod, name string, err error) (place, error) {
	if err != nil {
		if apierrors.IsForbidden(err) && notOfDaemonSet(name) {
			return place{why: "the agent may not read its own pod, whose name is not one of a DaemonSet: everything is scraped whole"}, nil
		}
		return place{}, fmt.Errorf("NODE_NAME is not set, and the agent's pod cannot be read: %w; %s", err, giveNodeName)
	}
	owner := metav1.GetControllerOf(pod)
	switch {
	case owner == nil:
		return place{why: "the agent's pod belongs to nothing: everything is scraped whole, as Prometheus does"}, nil
	case owner.Kind != "DaemonSet":
		return place{why: fmt.Sprintf("the agent's pod belongs to %s %s and not to a DaemonSet: everything is scraped whole, as Prometheus does", owner.Kind, owner.Name)}, nil
	case pod.Spec.NodeName == "":
		return place{}, fmt.Errorf("the agent's pod belongs to DaemonSet %s, but does not tell its node; %s", owner.Name, giveNodeName)
	}
	return place{node: pod.Spec.NodeName}, nil
}
