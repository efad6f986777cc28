// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promrelabel "github.com/prometheus/prometheus/model/relabel"
)

const (
	podMeta    = "__meta_kubernetes_pod_"
	annotation = podMeta + "annotation_prometheus_io_"
)

// TestChartAnnotatedPods runs the rules of the job kubernetes-pods on what pods may claim about themselves: an address is
// the pod's own or there is none.
func TestChartAnnotatedPods(t *testing.T) {
	rules := rulesOf(t, "kubernetes-pods", render(t, "--values", chartValues(t)["minimal"]))
	target := func(address, scheme, path, container string) map[string]string {
		m := map[string]string{
			"__address__": address, "__scheme__": scheme, "__metrics_path__": path,
			"namespace": "shop", "pod": "cart-1", "node": "n1", "job": "kubernetes-pods",
		}
		if container != "" {
			m["container"] = container
		}
		return m
	}
	for _, c := range []struct {
		name string
		pod  map[string]string // overrides those of a pod with scrape: "true"; nil is no target at all
		want map[string]string
	}{
		{"no port", nil, target("10.1.2.3:8080", "http", "/metrics", "cart")},
		{"all annotations", map[string]string{annotation + "port": "9102", annotation + "path": "/actuator/prometheus", annotation + "scheme": "https"}, target("10.1.2.3:9102", "https", "/actuator/prometheus", "")},
		{"IPv6", map[string]string{podMeta + "ip": "fd00::1", "__address__": "[fd00::1]:8080", annotation + "port": "9102"}, target("[fd00::1]:9102", "http", "/metrics", "")},
		{"IPv6 without port", map[string]string{podMeta + "ip": "fd00::1", "__address__": "[fd00::1]:8080"}, target("[fd00::1]:8080", "http", "/metrics", "cart")},
		{"highest port", map[string]string{annotation + "port": "65535"}, target("10.1.2.3:65535", "http", "/metrics", "")},
		{"unset scrape", map[string]string{annotation + "scrape": ""}, nil},
		{"scrape is no true", map[string]string{annotation + "scrape": "yes"}, nil},
		{"pending", map[string]string{podMeta + "phase": "Pending"}, nil},
		{"completed", map[string]string{podMeta + "phase": "Succeeded"}, nil},
		{"failed", map[string]string{podMeta + "phase": "Failed"}, nil},
		{"without IP", map[string]string{podMeta + "ip": ""}, nil},
		{"port too high", map[string]string{annotation + "port": "99999999"}, nil},
		{"port just too high", map[string]string{annotation + "port": "65536"}, nil},
		{"port zero", map[string]string{annotation + "port": "0"}, nil},
		{"port with another host", map[string]string{annotation + "port": "80@evil.example.com:80"}, nil},
		{"port with a path", map[string]string{annotation + "port": "80/x"}, nil},
		{"path goes up", map[string]string{annotation + "path": "../../x y"}, nil},
		{"path goes up from the root", map[string]string{annotation + "path": "/../x"}, nil},
		{"path with a query", map[string]string{annotation + "path": "/metrics?a=b"}, nil},
		{"path with a line feed", map[string]string{annotation + "path": "/metrics\nHost: evil"}, nil},
		{"path that is an address", map[string]string{annotation + "path": "http://evil.example.com/"}, nil},
		{"path too long", map[string]string{annotation + "path": "/" + strings.Repeat("a", 2000)}, nil},
		{"gopher", map[string]string{annotation + "scheme": "gopher"}, nil},
		{"scheme with a host", map[string]string{annotation + "scheme": "http://evil"}, nil},
		{"metadata service", map[string]string{podMeta + "ip": "169.254.169.254", annotation + "port": "80"}, nil},
		{"metadata service of Azure", map[string]string{podMeta + "ip": "168.63.129.16", annotation + "port": "80"}, nil},
		{"link-local IPv6", map[string]string{podMeta + "ip": "fe80::1", annotation + "port": "80"}, nil},
		{"container without a port", map[string]string{podMeta + "container_port_number": "", podMeta + "container_port_protocol": ""}, nil},
		{"port of UDP", map[string]string{podMeta + "container_port_protocol": "UDP"}, nil},
		{"init container", map[string]string{podMeta + "container_init": "true"}, nil},
		{"labels that pretend", map[string]string{podMeta + "label_namespace": "evil", podMeta + "label_environment": "evil", podMeta + "label_job": "evil"}, target("10.1.2.3:8080", "http", "/metrics", "cart")},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := map[string]string{
				"__address__": "10.1.2.3:8080", "__scheme__": "http", "__metrics_path__": "/metrics", "job": "kubernetes-pods",
				annotation + "scrape": "true", podMeta + "phase": "Running", podMeta + "ip": "10.1.2.3",
				"__meta_kubernetes_namespace": "shop", podMeta + "name": "cart-1", podMeta + "node_name": "n1",
				podMeta + "container_name": "cart", podMeta + "container_init": "false",
				podMeta + "container_port_number": "8080", podMeta + "container_port_protocol": "TCP",
			}
			maps.Copy(pod, c.pod)
			got, keep := relabelled(labels.FromMap(pod), rules)
			if c.want == nil {
				if keep {
					t.Errorf("it is scraped: %v", got)
				}
				return
			}
			if !keep {
				t.Fatal("it is dropped")
			}
			if diff := cmp.Diff(c.want, withoutMeta(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestChartNodeExporter takes an exporter in the network of its node for one, and no other pod that says it is one.
func TestChartNodeExporter(t *testing.T) {
	rules := rulesOf(t, "node", render(t, "--values", chartValues(t)["minimal"]))
	for _, c := range []struct {
		name, label, value, ip string
		want                   string // address; "" is no target
	}{
		{"by its name", "label_app_kubernetes_io_name", "prometheus-node-exporter", "10.0.0.4", "10.0.0.4:9100"},
		{"by its app", "label_app", "node-exporter", "10.0.0.4", "10.0.0.4:9100"},
		{"in a network of its own", "label_app", "node-exporter", "10.1.2.3", ""},
		{"something else", "label_app", "my-node-exporter", "10.0.0.4", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, keep := relabelled(labels.FromStrings("__address__", c.ip+":80", podMeta+c.label, c.value,
				podMeta+"ip", c.ip, podMeta+"host_ip", "10.0.0.4", podMeta+"node_name", "n1", podMeta+"phase", "Running"), rules)
			if keep != (c.want != "") {
				t.Fatalf("kept: %v", keep)
			}
			if keep && (got.Get("__address__") != c.want || got.Get("instance") != "n1") {
				t.Errorf("the target is %v", got)
			}
		})
	}
}

// TestChartKubelets wants each kubelet in exactly one of the jobs that differ in how they verify its certificate.
func TestChartKubelets(t *testing.T) {
	const aks, ca = "__meta_kubernetes_node_label_kubernetes_azure_com_cluster", "__meta_kubernetes_node_label_kubernetes_azure_com_kubelet_serving_ca"
	rendered := render(t, "--values", chartValues(t)["minimal"])
	for _, job := range []string{"kubelet", "cadvisor"} {
		for _, c := range []struct {
			name     string
			node     map[string]string
			verified bool
		}{
			{"no AKS", nil, true},
			{"AKS with certificates of the cluster", map[string]string{aks: "MC_rg_aks_weu", ca: "cluster"}, true},
			{"AKS with certificates of the kubelets", map[string]string{aks: "MC_rg_aks_weu"}, false},
		} {
			t.Run(job+", "+c.name, func(t *testing.T) {
				node := labels.FromMap(c.node)
				_, verified := relabelled(node, rulesOf(t, job, rendered))
				got, unverified := relabelled(node, rulesOf(t, job+"-unverified", rendered))
				if verified != c.verified || unverified == c.verified {
					t.Errorf("verified %v, unverified %v", verified, unverified)
				}
				if unverified && got.Get("job") != job {
					t.Errorf("its job is called %q", got.Get("job"))
				}
			})
		}
	}
}

// rulesOf are the relabel rules of a job.
func rulesOf(t *testing.T, name, rendered string) []*promrelabel.Config {
	t.Helper()
	for _, job := range parseConfig(t, agentConfig(decode(t, rendered))).Jobs {
		if job.JobName != name {
			continue
		}
		var rules []*promrelabel.Config
		for _, rule := range job.Relabeling {
			c := promrelabel.DefaultRelabelConfig
			c.NameValidationScheme = model.UTF8Validation
			for _, label := range rule.SourceLabels {
				c.SourceLabels = append(c.SourceLabels, model.LabelName(label))
			}
			if rule.Regex != nil {
				c.Regex = promrelabel.MustNewRegexp(*rule.Regex)
			}
			if rule.Replacement != nil {
				c.Replacement = *rule.Replacement
			}
			if rule.Action != "" {
				c.Action = promrelabel.Action(rule.Action)
			}
			c.TargetLabel = rule.TargetLabel
			rules = append(rules, &c)
		}
		return rules
	}
	t.Fatalf("no job %s", name)
	return nil
}

// relabelled gives what becomes of a target, and whether it stays one.
func relabelled(target labels.Labels, rules []*promrelabel.Config) (labels.Labels, bool) {
	b := labels.NewBuilder(target)
	keep := promrelabel.ProcessBuilder(b, rules...)
	return b.Labels(), keep
}

// withoutMeta is what is left of a target's labels when it is scraped, and where it is.
func withoutMeta(target labels.Labels) map[string]string {
	m := target.Map()
	for name := range m {
		if strings.HasPrefix(name, "__meta_") {
			delete(m, name)
		}
	}
	return m
}
