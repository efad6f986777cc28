// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// secretsText holds every kind of secret that a config can hold; each has a name of its own that begins with "hush".
const secretsText = `global: {external_labels: {clustername: a, environment: b, token: shown}}
agent: {limits: {max_series: 7}}
scrape_configs:
  - job_name: a
    authorization: {credentials: hush01}
    proxy_url: http://user:hush02@proxy.example:3128/
    proxy_connect_header: {Proxy-Auth: [hush03]}
    http_headers: {X-Key: {values: [hush04], secrets: [hush05]}}
    params: {token: [hush06], module: [shown]}
    tls_config: {key: hush07, cert: shown, ca: shown}
    static_configs: [{targets: ["shown:1"], labels: {password: shown, __param_token: hush28}}]
    http_sd_configs:
      - url: http://user:hush08@sd.example/?api_key=hush09&x=shown
        basic_auth: {username: shown, password: hush10}
    kubernetes_sd_configs:
      - role: pod
        api_server: https://user:hush11@api.example/
        bearer_token: hush12
  - job_name: b
    oauth2:
      client_id: shown
      client_secret: hush13
      client_certificate_key: hush14
      token_url: https://user:hush15@token.example/
      endpoint_params: {assertion: hush16}
      proxy_url: http://hush17@proxy.example/
      tls_config: {key: hush18, cert: shown}
  - job_name: c
    bearer_token: hush19
remote_write:
  - url: https://user:hush20@central.example/write?sig=hush21
    headers: {X-Scope: hush22}
    sigv4: {region: shown, access_key: AKIA, secret_key: hush23}
  - url: https://hush24@central.example/write
    azuread: {oauth: {client_id: 00000000-a12b-3cd4-e56f-000000000000, client_secret: hush25, tenant_id: 00000000-a12b-3cd4-e56f-000000000000}}
  - url: https://central.example/write2
    azuread: {certificate: {client_id: 00000000-a12b-3cd4-e56f-000000000000, tenant_id: 00000000-a12b-3cd4-e56f-000000000000, certificate_path: /dev/null, certificate_password: hush26}}
tracing: {endpoint: "shown:4317", headers: {X: hush27}}
`

func TestStringShowsNoSecret(t *testing.T) {
	opts := required()
	opts.SkipFileReferences = true // Its certificates are none.
	cfg := parse(t, secretsText, opts)
	text := cfg.String()
	for _, got := range []string{text, cfg.Hints.Error()} {
		if leak := regexp.MustCompile(`.*hush.*`).FindString(got); leak != "" {
			t.Errorf("leaked: %s", leak)
		}
	}
	if got := strings.Count(text, "<secret>"); got < 28 {
		t.Errorf("%d secrets are shown as such, want at least 28 in:\n%s", got, text)
	}
	for _, want := range []string{
		"token: shown", "password: shown", "max_series: 7", "- shown:1", "central.example/write", "x=shown",
		"user:<secret>@sd.example", "cert: shown", "<secret>@proxy.example",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

// TestErrorsShowNoSecret breaks a config that is full of secrets in many ways.
func TestErrorsShowNoSecret(t *testing.T) {
	f := func(name, text string) {
		t.Helper()
		_, err := Parse(&Source{Main: File{"/c.yaml", text}}, required())
		if err == nil {
			t.Errorf("%s: no error", name)
			return
		}
		if leak := regexp.MustCompile(`.*hush.*`).FindString(err.Error()); leak != "" {
			t.Errorf("%s: leaked: %s", name, leak)
		}
	}
	secrets := regexp.MustCompile(`hush\d\d`).FindAllString(secretsText, -1)
	for _, secret := range secrets {
		f(secret+" as a list", strings.Replace(secretsText, secret, "["+secret+"]", 1)+"\nx: y\n")
		f(secret+" with a broken escape", strings.Replace(secretsText, secret, secret+"%zz", 1)+"\nx: y\n")
		f(secret+" as an alias", strings.Replace(secretsText, secret, "*"+secret, 1)+"\nx: y\n")
		f(secret+" as a tag", strings.Replace(secretsText, secret, "!"+secret+" x", 1)+"\nx: y\n")
		f(secret+" with a slash", strings.Replace(secretsText, secret, secret+"/"+secret, 1)+"\nx: y\n")
		f(secret+" with an unset variable", strings.Replace(secretsText, secret, secret+"${TB_UNSET", 1)+"\nx: y\n")
	}
	for _, section := range []string{"authorization", "basic_auth", "oauth2", "tls_config", "http_headers", "sigv4", "headers"} {
		f(section+" is a text", goodText+"scrape_configs: [{job_name: a, "+section+": hush01}]\n")
	}
	f("a target with a password", goodText+"scrape_configs: [{job_name: a, static_configs: [{targets: ['http://u:hush01@a']}]}]\n")
	f("duplicates", goodText+"scrape_configs: [{job_name: a, bearer_token: hush01, bearer_token: hush02}]\n")
}

func TestRedactURLs(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := redactURLs(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	f("https://a.example/x?y=z", "https://a.example/x?y=z")
	f("https://u:p@a.example/x", "https://u:<secret>@a.example/x")
	f("https://u:p@q@a.example/x", "https://u:<secret>@a.example/x")
	f("https://:p@a.example/x", "https://:<secret>@a.example/x")
	f("https://p@a.example/x", "https://<secret>@a.example/x")
	f("//u:p@a and https://v:q@b", "//u:<secret>@a and https://v:<secret>@b")
	f("https://a?token=1&b=2&API_KEY=3#x", "https://a?token=<secret>&b=2&API_KEY=<secret>#x")
	f("write to a@b.example", "write to a@b.example")
	f("http://a/write?db=x&u=me&p=1&page=2", "http://a/write?db=x&u=me&p=<secret>&page=2")
	// As JSON has it, and what is to stay JSON.
	f(`{"url":"http://a?b=1\u0026token=2\u0026c=3","words":"\"http://a?token=\u00e9\\4\""}`,
		`{"url":"http://a?b=1\u0026token=<secret>\u0026c=3","words":"\"http://a?token=<secret>\""}`)
	// A URL that is a parameter, as those of probes are.
	f(`Get "http://p:9115/probe?module=x&target=http%3A%2F%2Fu%3Ap%40a%3Ftoken%3D1%26b%3D2": EOF`,
		`Get "http://p:9115/probe?module=x&target=http%3A%2F%2Fu%3A%3Csecret%3E%40a%3Ftoken%3D%3Csecret%3E%26b%3D2": EOF`)
	f("target=http%3A%2F%2Fu%3Ap%40a%", "target=http%3A%2F%2Fu%3A%3Csecret%3E%40a")
	f("http://p/?target=http%3A%2F%2Fa%2Fx+y&z=100%", "http://p/?target=http%3A%2F%2Fa%2Fx+y&z=100%")
	f("u%253Ap 100% %zz %2", "u%253Ap 100% %zz %2")
}

// What targets say is redacted while somebody waits for a page.
func TestRedactURLsIsQuick(t *testing.T) {
	for _, part := range []string{"%a&", "%2F%2F%40&", "//a:", "%2F%2Fa%3Ab%40c ", "//?token=a&", "%25", "//%2525252F@"} {
		text, best := strings.Repeat(part, 100_000/len(part)), time.Hour
		for deadline := time.Now().Add(30 * time.Second); best > time.Second && time.Now().Before(deadline); {
			begin := time.Now()
			redactURLs(text)
			best = min(best, time.Since(begin))
		}
		t.Logf("100 kB of %q take %s", part, best)
		if best > time.Second {
			t.Errorf("100 kB of %q take %s", part, best)
		}
	}
}
