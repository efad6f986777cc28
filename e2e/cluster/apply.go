// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Create makes each object of a text of YAML documents, with strict validation: an unknown field is an error. It
// returns all errors and how many objects there were. A dry run goes all the way but for storing.
func (c *ControlPlane) Create(ctx context.Context, text string, dryRun bool) (int, error) {
	options := meta.CreateOptions{FieldValidation: meta.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{meta.DryRunAll}
	}
	client, err := dynamic.NewForConfig(&rest.Config{Host: c.URL(), QPS: -1, Transport: c.transport})
	if err != nil {
		return 0, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	var problems []error
	for n := 0; ; {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return n, errors.Join(problems...)
		}
		if err != nil {
			return n, err
		}
		if len(object.Object) == 0 {
			continue
		}
		n++
		kind := object.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return n, err
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if object.GetNamespace() != "" {
			resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
		}
		if _, err := resource.Create(ctx, &object, options); err != nil {
			problems = append(problems, fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err))
		}
	}
}
