// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
)

// PodNode tells the node of a pod, in any namespace where that is "". It returns
// "" for what is no pod and where the agent may not know: outside Kubernetes, or
// without the right to read pods.
func (t *Targets) PodNode(ctx context.Context, namespace, pod string) string {
	t.mu.Lock()
	client := t.place.client
	t.mu.Unlock()
	if client == nil || len(validation.IsDNS1123Subdomain(pod)) > 0 || namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// Any version will do: so the API server answers from its memory.
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", pod).String(), ResourceVersion: "0",
	})
	if err != nil || len(pods.Items) == 0 {
		return ""
	}
	return pods.Items[0].Spec.NodeName
}
