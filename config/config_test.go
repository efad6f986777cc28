// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

func parse(t *testing.T, text string, opts Options) *Config {
	t.Helper()
	cfg, err := Parse(&Source{Main: File{Path: "/etc/torchbearer/torchbearer.yaml", Content: text}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestEffective looks at what Prometheus's libraries are given for testdata/good-all.yaml.
func TestEffective(t *testing.T) {
	t.Setenv("CLUSTER", "aks-one")
	t.Setenv("NODE_NAME", "node-7")
	cfg, err := Load("testdata/good-all.yaml", required())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	prom := cfg.Prometheus
	job := func(name string) *promconfig.ScrapeConfig {
		i := slices.IndexFunc(prom.ScrapeConfigs, func(s *promconfig.ScrapeConfig) bool { return s.JobName == name })
		if i < 0 {
			t.Fatalf("there is no job %q", name)
		}
		return prom.ScrapeConfigs[i]
	}
	check("external labels", prom.GlobalConfig.ExternalLabels.String(), `{clustername="aks-one", environment="aks-one-prod", price="5$"}`)
	check("remote_write", prom.RemoteWriteConfigs[0].URL.String(), "http://user:node-7@central.example/api/v1/write")
	check("no variable in a password", string(prom.RemoteWriteConfigs[0].HTTPClientConfig.BasicAuth.Password), "${CLUSTER}")
	check("no variable in params", job("federate").Params["match[]"], []string{`{job="x"}`, "${NODE_NAME}"})
	check("no variable in a rule", job("federate").RelabelConfigs[0].Replacement, "${1}")
	check("merge key", []any{job("merged").MetricsPath, job("merged").HonorLabels, len(job("merged").RelabelConfigs)}, []any{"/federate", true, 0})
	check("selector", job("pods").ServiceDiscoveryConfigs[0].(*kubernetes.SDConfig).Selectors[0].Field, "spec.nodeName=node-7")
	var web []string
	for _, sd := range job("web").ServiceDiscoveryConfigs {
		if c, ok := sd.(*http.SDConfig); ok {
			web = append(web, c.URL)
		}
	}
	check("http_sd url", web, []string{"http://aks-one/sd"})
	check("failure log", job("from-file").ScrapeFailureLogFile, filepath.Join(dir, "failures.log"))
	check("credentials file", job("from-file").HTTPClientConfig.Authorization.CredentialsFile, filepath.Join(dir, "scrape", "token"))
	check("scrape_config_files", len(prom.ScrapeConfigFiles), 0)
	check("log level", string(prom.Runtime.LogLevel), "debug")
	check("agent", cfg.Agent, Agent{
		RequiredLabels:   []string{"clustername", "environment", "price"},
		TrustedLabelJobs: []string{"federate"},
		Scopes:           map[string]Scope{"federate": "cluster", "from-file": "every"},
		Limits:           Limits{MaxSeries: 100000, MaxSeriesPerJob: 20000, JobMaxSeries: map[string]int{"federate": 50000, "from-file": 0}},
	})
	var mandatory []string
	for _, l := range cfg.MandatoryLabels() {
		mandatory = append(mandatory, l.Name+"="+l.Value)
	}
	check("mandatory labels", mandatory, []string{"clustername=aks-one", "environment=aks-one-prod", "price=5$"})
}

func TestDefaults(t *testing.T) {
	text := goodText + "scrape_configs: [{job_name: a}]\n"
	plain := parse(t, text, required())
	job := plain.Prometheus.ScrapeConfigs[0]
	if job.ScrapeProtocols[0] != promconfig.OpenMetricsText1_0_0 || job.ExtraScrapeMetricsEnabled() || plain.Prometheus.Runtime.LogLevel != "info" {
		t.Errorf("got %v %v %v", job.ScrapeProtocols, job.ExtraScrapeMetricsEnabled(), plain.Prometheus.Runtime.LogLevel)
	}
	opts := required()
	opts.DefaultProtoFirst, opts.DefaultExtraScrapeMetrics, opts.DefaultLogLevel = true, true, "warn"
	set := parse(t, text, opts)
	job = set.Prometheus.ScrapeConfigs[0]
	if job.ScrapeProtocols[0] != promconfig.PrometheusProto || !job.ExtraScrapeMetricsEnabled() || set.Prometheus.Runtime.LogLevel != "warn" {
		t.Errorf("got %v %v %v", job.ScrapeProtocols, job.ExtraScrapeMetricsEnabled(), set.Prometheus.Runtime.LogLevel)
	}
	if set.Hash() == plain.Hash() {
		t.Error("options do not change the hash")
	}
	written := parse(t, `global: {external_labels: {clustername: a, environment: b}, scrape_protocols: [PrometheusText0.0.4], extra_scrape_metrics: false}
runtime: {log_level: error}
remote_write: [{url: "https://a"}]
scrape_configs: [{job_name: a}]
`, opts)
	job = written.Prometheus.ScrapeConfigs[0]
	if job.ScrapeProtocols[0] != promconfig.PrometheusText0_0_4 || job.ExtraScrapeMetricsEnabled() || written.Prometheus.Runtime.LogLevel != "error" {
		t.Errorf("got %v %v %v", job.ScrapeProtocols, job.ExtraScrapeMetricsEnabled(), written.Prometheus.Runtime.LogLevel)
	}
}

func TestHashFollowsVariables(t *testing.T) {
	text := "global: {external_labels: {clustername: $TB_A, environment: b}}\nremote_write: [{url: \"https://${TB_B}/\"}]\n"
	hash := func(a, b string) string {
		t.Setenv("TB_A", a)
		t.Setenv("TB_B", b)
		return parse(t, text, required()).Hash()
	}
	one := hash("x", "y")
	if one != hash("x", "y") {
		t.Error("the hash is not stable")
	}
	if one == hash("z", "y") || one == hash("x", "z") {
		t.Error("a variable does not change the hash")
	}
}

func TestNoRequiredLabels(t *testing.T) {
	cfg := parse(t, "remote_write: [{url: \"https://a\"}]\n", Options{RequiredLabels: []string{""}})
	if len(cfg.MandatoryLabels()) != 0 || len(cfg.Hints) != 2 {
		t.Errorf("got labels %v, hints:\n%v", cfg.MandatoryLabels(), cfg.Hints)
	}
}

func TestCertificatesThatAreNoneAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := func(tls string) string {
		return "global: {external_labels: {clustername: a, environment: b}}\nremote_write:\n- url: https://c/w\n  tls_config: " + tls + "\n"
	}
	for _, tls := range []string{"{ca_file: " + file + "}", "{ca: garbage}", "{cert: garbage, key: garbage}"} {
		src := &Source{Main: File{"/etc/c.yaml", text(tls)}}
		_, err := Parse(src, required())
		if err == nil || !strings.HasPrefix(err.Error(), "/etc/c.yaml:3: remote_write[0]: no HTTP client can be made") {
			t.Errorf("%s: got %v", tls, err)
		}
		opts := required()
		opts.SkipFileReferences = true
		if _, err := Parse(src, opts); err != nil {
			t.Errorf("%s, not asked for: %v", tls, err)
		}
	}
}

func TestVariablesInTheUserOfAURL(t *testing.T) {
	t.Setenv("TB_GOOD", "user:pass")
	t.Setenv("TB_BAD", "pa/ss")
	text := func(name string) string {
		return "global: {external_labels: {clustername: a, environment: b}}\nremote_write: [{url: 'https://${" + name + "}@c/w'}]\n"
	}
	cfg := parse(t, text("TB_GOOD"), required())
	if got := cfg.Prometheus.RemoteWriteConfigs[0].URL.User.String(); got != "user:pass" {
		t.Errorf("the user is %s", got)
	}
	_, err := Parse(&Source{Main: File{"/c.yaml", text("TB_BAD")}}, required())
	if err == nil || !strings.Contains(err.Error(), "TB_BAD holds a character") || strings.Contains(err.Error(), "pa/ss") {
		t.Errorf("got %v", err)
	}
	_, err = Parse(&Source{Main: File{"/c.yaml", strings.Replace(text("TB_UNSET"), "environment: b", "environment: '${TB_UNSET_TOO}'", 1)}}, required())
	if err == nil || !strings.Contains(err.Error(), "TB_UNSET_TOO, which is unset or empty") {
		t.Errorf("got %v", err)
	}
}
