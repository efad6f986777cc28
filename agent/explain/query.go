// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// query is what a question about a target names: a job, or a target or pod by
// one of its names.
type query struct {
	text            string
	url             *url.URL // nil when it is none
	namespace, name string   // of "namespace/name", else name only
}

func newQuery(text string) query {
	q := query{text: strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD")}
	if u, err := url.Parse(q.text); err == nil && u.Host != "" && strings.Contains(q.text, "://") {
		q.url = u
		return q
	}
	q.name = q.text
	if namespace, name, ok := strings.Cut(q.text, "/"); ok {
		q.namespace, q.name = namespace, name
	}
	return q
}

// objects are the labels that have the name of an object of Kubernetes.
var objects = [...]string{ //nolint:gochecknoglobals // It is a constant, which Go has no word for.
	"__meta_kubernetes_pod_name", "__meta_kubernetes_endpoint_address_target_name", "__meta_kubernetes_endpointslice_address_target_name",
	"__meta_kubernetes_node_name", "__meta_kubernetes_service_name", "__meta_kubernetes_ingress_name",
}

// discovered says whether what was discovered with these labels is meant.
func (q *query) discovered(get func(string) string) bool {
	if q.address(get(model.SchemeLabel), get(model.AddressLabel), get(model.MetricsPathLabel)) {
		return true
	}
	if q.is(get(model.AddressLabel)) || q.is(get(model.InstanceLabel)) { // Of probes these are URLs.
		return true
	}
	return q.url == nil && q.name != "" && slices.ContainsFunc(objects[:], func(label string) bool {
		return get(label) == q.name && (q.namespace == "" || get("__meta_kubernetes_namespace") == q.namespace)
	})
}

// scraped says whether the target is meant by what it is after relabelling.
func (q *query) scraped(t *scrape.Target) bool {
	get := t.GetValue
	if q.address(get(model.SchemeLabel), get(model.AddressLabel), get(model.MetricsPathLabel)) {
		return true
	}
	if q.is(get(model.InstanceLabel)) || q.url != nil && q.is(t.URL().String()) {
		return true
	}
	return q.url == nil && q.name != "" && get("pod") == q.name && (q.namespace == "" || get("namespace") == q.namespace)
}

// is says whether text is what was asked for, also where that is copied from what is shown of it.
func (q *query) is(text string) bool {
	return text == q.text || strings.Contains(q.text, "<secret>") && config.HideSecrets(text) == q.text
}

// address says whether a target at that address is meant. A URL without a path
// means all paths.
func (q *query) address(scheme, address, path string) bool {
	switch {
	case address == "":
		return false
	case q.url == nil:
		return address == q.text || hostOf(address) == q.text
	}
	return q.url.Host == address && q.url.Scheme == scheme &&
		(q.url.RawQuery == "" && strings.Trim(q.url.Path, "/") == "" || q.url.RawQuery == "" && q.url.Path == path)
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
