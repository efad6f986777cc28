// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"time"

	"github.com/go-kit/log/level"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// askUIDFirst and askUIDMost are the pauses between attempts to read the
	// cluster's UID; each is twice the one before.
	askUIDFirst = time.Second
	askUIDMost  = 5 * time.Minute
)

// ClusterUID tells clusters apart whatever they are called: the UID of namespace
// kube-system. "" outside Kubernetes, without the right to read that, and until
// it is read.
func (t *Targets) ClusterUID() string {
	if uid := t.clusterUID.Load(); uid != nil {
		return *uid
	}
	return ""
}

// askUID reads the cluster's UID, once, until ctx is done. Nothing waits for it.
func (t *Targets) askUID(ctx context.Context, client kubernetes.Interface) {
	for pause := askUIDFirst; ; pause = min(2*pause, askUIDMost) {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		ns, err := client.CoreV1().Namespaces().Get(asking, metav1.NamespaceSystem, metav1.GetOptions{})
		cancel()
		switch {
		case err == nil:
			uid := string(ns.UID)
			t.clusterUID.Store(&uid)
			return
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err):
			level.Info(t.logger).Log("msg", "the cluster's UID cannot be read; heartbeats do without it; allow the agent to get namespace kube-system", "err", err)
			return
		}
		level.Debug(t.logger).Log("msg", "the cluster's UID cannot be read yet", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
