// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"
)

// TestChartRefuses gives values that cannot be meant, and wants an install that does not begin and says what to change.
func TestChartRefuses(t *testing.T) {
	const first = "remoteWrite[0]."
	good := []string{"clusterName=aks-test", "environment=test", first + "url=https://central.example.com/api/v1/write"}
	for _, c := range []struct {
		name string
		drop string // the good value that is left out
		set  []string
		want []string
	}{
		{"nothing set", "all", nil, []string{"missing property 'clusterName'", "missing property 'environment'", "missing property 'remoteWrite'"}},
		{"no cluster", "clusterName", nil, []string{"missing property 'clusterName'"}},
		{"no environment", "environment", nil, []string{"missing property 'environment'"}},
		{"no destination", first, nil, []string{"missing property 'remoteWrite'"}},
		{"destinations are no list", first, []string{"remoteWrite=https://central"}, []string{"/remoteWrite", "want array"}},
		{"empty cluster", "", []string{"clusterName="}, []string{"/clusterName", "minLength"}},
		{"blank cluster", "", []string{"clusterName=  "}, []string{"clusterName: set it"}},
		{"cluster of two lines", "", []string{"clusterName=a\nb"}, []string{"/clusterName", "does not match pattern"}},
		{"cluster is a number", "clusterName", []string{"clusterName=12"}, []string{"/clusterName", "want string"}},
		{"empty community label", "clusterName", []string{"server.global.external_labels.clustername="}, []string{"clusterName: set it"}},
		{"two names for the cluster", "", []string{"server.global.external_labels.clustername=other"}, []string{`clusterName is "aks-test"`, `"other"`, "remove one"}},
		{"url without scheme", "", []string{first + "url=central.example.com/api/v1/write"}, []string{"remoteWrite[0].url", "begins with https://"}},
		{"url without host", "", []string{first + "url=https:///api/v1/write"}, []string{"remoteWrite[0].url", "a host"}},
		{"url of another scheme", "", []string{first + "url=ftp://central"}, []string{"remoteWrite[0].url", "begins with https://"}},
		{"empty url", "", []string{first + "url="}, []string{"remoteWrite[0].url: set the address"}},
		{"no url", first, []string{first + "name=central"}, []string{"/remoteWrite/0", "missing property 'url'"}},
		{"community url without scheme", first, []string{"server.remoteWrite[0].url=central"}, []string{"remoteWrite[0].url", "begins with https://"}},
		{"password in the url", "", []string{first + "url=https://me:hunter2@central/write"}, []string{"remoteWrite[0].url has a password", "password_from"}},
		{"password", "", []string{first + "basic_auth.password=hunter2"}, []string{"remoteWrite[0].basic_auth.password would stand in a ConfigMap", "password_from"}},
		{"community password", "", []string{"server.remoteWrite[0].url=https://b", "server.remoteWrite[0].basic_auth.password=hunter2"}, []string{"remoteWrite[1].basic_auth.password", "password_from"}},
		{"token", "", []string{first + "authorization.credentials=hunter2"}, []string{"credentials_from"}},
		{"old token", "", []string{first + "bearer_token=hunter2"}, []string{"credentials_from"}},
		{"client secret", "", []string{first + "oauth2.client_secret=hunter2"}, []string{"client_secret_from"}},
		{"private key", "", []string{first + "tls_config.key=hunter2"}, []string{"key_from"}},
		{"key of AWS", "", []string{first + "sigv4.secret_key=hunter2"}, []string{"would stand in a ConfigMap"}},
		{"secret of Azure", "", []string{first + "azuread.oauth.client_secret=hunter2"}, []string{"use workload_identity"}},
		{"secret header", "", []string{first + "headers.X-Api-Key=hunter2"}, []string{"looks like a secret", "files_from"}},
		{"password of a job", "", []string{"scrapeConfigs.a.static_configs[0].targets[0]=b", "scrapeConfigs.a.basic_auth.password=hunter2"}, []string{"scrapeConfigs.a.basic_auth.password", "password_from"}},
		{"password in a text of jobs", "", []string{`extraScrapeConfigs=- {job_name: a\, basic_auth: {password: hunter2}}`}, []string{"extraScrapeConfigs[0].basic_auth.password"}},
		{"Secret without a key", "", []string{first + "basic_auth.password_from.secret=central"}, []string{"/remoteWrite/0/basic_auth/password_from", "missing property 'key'"}},
		{"Secret without a name", "", []string{first + "tls_config.ca_from.key=ca.crt"}, []string{"missing property 'secret'"}},
		{"Secret with an empty key", "", []string{first + "tls_config.ca_from.secret=a", first + "tls_config.ca_from.key="}, []string{"ca_from/key", "minLength"}},
		{"Secret of a job without a key", "", []string{"scrapeConfigs.a.static_configs[0].targets[0]=b", "scrapeConfigs.a.basic_auth.password_from.secret=c"}, []string{"scrapeConfigs.a.basic_auth.password_from: set both"}},
		{"workload identity without a tenant", "", []string{first + "azuread.workload_identity.client_id=a"}, []string{"missing property 'tenant_id'"}},
		{"unknown field of a destination", "", []string{first + "uri=https://b"}, []string{"additional properties 'uri' not allowed"}},
		{"unknown message", "", []string{first + "protobuf_message=v3"}, []string{"protobuf_message", "must be one of"}},
		{"unknown profile", "", []string{"metricsProfile=tiny"}, []string{"/metricsProfile", "'full', 'minimal'"}},
		{"mistyped value", "", []string{"clustername=a"}, []string{"additional properties 'clustername' not allowed"}},
		{"mistyped job", "", []string{"jobs.kublet.enabled=true"}, []string{"/jobs", "'kublet' not allowed"}},
		{"mistyped switch", "", []string{"jobs.kubelet.enable=true"}, []string{"/jobs/kubelet", "'enable' not allowed"}},
		{"switch that is none", "", []string{"jobs.kubelet.enabled=maybe"}, []string{"/jobs/kubelet/enabled", "want boolean"}},
		{"interval that is none", "", []string{"scrapeInterval=often"}, []string{"/scrapeInterval"}},
		{"port that is none", "", []string{"jobs.node.port=99999999"}, []string{"/jobs/node/port", "maximum"}},
		{"image tag that is a number", "", []string{"image.tag=1"}, []string{"/image/tag", "want string"}},
		{"unknown storage", "", []string{"storage.type=pvc"}, []string{"/storage/type", "'hostPath', 'emptyDir'"}},
		{"data in the root of the node", "", []string{"storage.hostPath.path=/"}, []string{"/storage/hostPath/path"}},
		{"two agents in one directory", "", []string{"updateStrategy.rollingUpdate.maxSurge=1"}, []string{"maxSurge"}},
		{"pod label that hides the namespace", "", []string{"jobs.kubernetes-pods.podLabels[0]=namespace"}, []string{"podLabels: namespace would overwrite"}},
		{"job of a name of ours", "", []string{"scrapeConfigs.kubelet.static_configs[0].targets[0]=a"}, []string{"scrapeConfigs.kubelet", "jobs.kubelet"}},
		{"job without targets", "", []string{"scrapeConfigs.kubernetes-pods-slow.scrape_interval=5m"}, []string{"it has no targets"}},
		{"text that is no list of jobs", "", []string{"extraScrapeConfigs=job_name: a"}, []string{"extraScrapeConfigs: write a list"}},
		{"scope of no job", "", []string{"scopes.blackbox=every"}, []string{"scopes: there is no job blackbox"}},
		{"a limit of no job", "", []string{"limits.job_max_series.federate=5"}, []string{"limits.job_max_series: there is no job federate"}},
		{"trust in no job", "", []string{"trustedLabelJobs[0]=federate"}, []string{"trustedLabelJobs: there is no job federate"}},
		{"unknown scope", "", []string{"scopes.a=nod"}, []string{"/scopes/a", "'node', 'cluster', 'every'"}},
		{"sub-chart", "", []string{"kube-state-metrics.enabled=true"}, []string{"kube-state-metrics: this chart does not install it"}},
		{"flags of Prometheus", "", []string{"server.defaultFlagsOverride[0]=--agent"}, []string{"server.defaultFlagsOverride: remove it"}},
		{"community value without a meaning here", "", []string{"server.persistentVolume.enabled=true"}, []string{"/server", "'persistentVolume' not allowed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"template", "agent", chartDir}
			for _, value := range good {
				if c.drop != "all" && (c.drop == "" || !strings.HasPrefix(value, c.drop)) {
					args = append(args, "--set", value)
				}
			}
			for _, value := range c.set {
				args = append(args, "--set", value)
			}
			out, problems, err := helm(t, args...)
			if err == nil {
				t.Fatalf("it was rendered:\n%s", out)
			}
			for _, want := range c.want {
				if !strings.Contains(problems, want) {
					t.Errorf("the message lacks %q:\n%s", want, problems)
				}
			}
			if strings.Contains(problems, "hunter2") {
				t.Errorf("the message shows the secret:\n%s", problems)
			}
		})
	}
}
