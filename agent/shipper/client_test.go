// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	promcfg "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"
	"github.com/prometheus/sigv4"
)

// headers posts twice to a server and returns the headers of the requests.
func headers(t *testing.T, mod func(rw *promconfig.RemoteWriteConfig), between func()) (first, second http.Header) {
	t.Helper()
	var mu sync.Mutex
	var got []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodPost {
			t.Errorf("the method is %s", r.Method)
		}
		got = append(got, r.Header)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	rw := route(t, server.URL+"/write")
	mod(rw)
	c := clientFor(t, rw)
	for range 2 {
		if a := c.post(t.Context(), false, []byte("x"), 0); a.verdict != stored {
			t.Fatalf("%+v", a)
		}
		if between != nil {
			between()
		}
	}
	return got[0], got[1]
}

func TestHeadersOfRequests(t *testing.T) {
	t.Parallel()
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer server.Close()
	rw := route(t, server.URL)
	rw.Headers = map[string]string{"x-scope-orgid": "tenant"}
	c := clientFor(t, rw)
	c.post(t.Context(), false, []byte("xyz"), 0)
	for name, want := range map[string]string{
		"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0",
		"X-Scope-Orgid": "tenant", "Retry-Attempt": "", "Content-Length": "3",
	} {
		if got.Get(name) != want {
			t.Errorf("1.0: %s is %q, want %q", name, got.Get(name), want)
		}
	}
	if !strings.HasPrefix(got.Get("User-Agent"), "torchbearer/") {
		t.Errorf("the user agent is %q", got.Get("User-Agent"))
	}
	c.post(t.Context(), true, []byte("xyz"), 3)
	for name, want := range map[string]string{
		"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
		"X-Prometheus-Remote-Write-Version": "2.0.0", "Retry-Attempt": "3",
	} {
		if got.Get(name) != want {
			t.Errorf("2.0: %s is %q, want %q", name, got.Get(name), want)
		}
	}
}

func TestWaysToAuthorize(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	issued := 0
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		issued++
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "issued", "token_type": "Bearer", "expires_in": 3600})
	}))
	defer tokens.Close()
	for _, c := range []struct {
		name          string
		mod           func(rw *promconfig.RemoteWriteConfig)
		first, second string
	}{
		{"none", func(*promconfig.RemoteWriteConfig) {}, "", ""},
		{"basic", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.BasicAuth = &promcfg.BasicAuth{Username: "u", Password: "p"}
		}, basic("u:p"), basic("u:p")},
		{"basic, file", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.BasicAuth = &promcfg.BasicAuth{Username: "u", PasswordFile: token}
		}, basic("u:one"), basic("u:two")},
		{"URL", func(rw *promconfig.RemoteWriteConfig) {
			rw.URL.User = url.UserPassword("me", "pass word")
		}, basic("me:pass word"), basic("me:pass word")},
		{"bearer", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.Authorization = &promcfg.Authorization{Type: "Bearer", Credentials: "abc"}
		}, "Bearer abc", "Bearer abc"},
		{"bearer, file", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.Authorization = &promcfg.Authorization{Type: "Bearer", CredentialsFile: token}
		}, "Bearer one", "Bearer two"},
		{"OAuth2", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.OAuth2 = &promcfg.OAuth2{ClientID: "id", ClientSecret: "s", TokenURL: tokens.URL}
		}, "Bearer issued", "Bearer issued"},
		{"OAuth2, file", func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.OAuth2 = &promcfg.OAuth2{ClientID: "id", ClientSecretFile: token, TokenURL: tokens.URL}
		}, "Bearer issued", "Bearer issued"},
		{"headers", func(rw *promconfig.RemoteWriteConfig) {
			rw.Headers = map[string]string{"Authorization": "Custom x"}
		}, "Custom x", "Custom x"},
	} {
		write("one")
		first, second := headers(t, c.mod, func() { write("two") })
		got := []string{first.Get("Authorization"), second.Get("Authorization")}
		if diff := cmp.Diff([]string{c.first, c.second}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if issued != 3 { // One, and two for the two secrets.
		t.Errorf("%d tokens were issued, want 3", issued)
	}
}

func TestSigV4SignsTheBody(t *testing.T) {
	t.Parallel()
	first, _ := headers(t, func(rw *promconfig.RemoteWriteConfig) {
		rw.Headers = map[string]string{"X-Tenant": "a"}
		rw.SigV4Config = &sigv4.SigV4Config{Region: "eu-west-1", AccessKey: "AKIDEXAMPLE", SecretKey: "s3cr3t-key"}
	}, nil)
	if got := first.Get("Authorization"); !strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") || !strings.Contains(got, "/eu-west-1/aps/aws4_request") {
		t.Errorf("Authorization is %q", got)
	}
	if first.Get("X-Tenant") != "a" || first.Get("X-Amz-Date") == "" {
		t.Errorf("the headers are %v", first)
	}
}

func TestCloudClientsAreMadeAsTheLibraryMakesThem(t *testing.T) {
	t.Parallel()
	const id = "11111111-2222-3333-4444-555555555555"
	key := filepath.Join(t.TempDir(), "key.json")
	content := `{"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": "x", "client_email": "a@b", "token_uri": "http://127.0.0.1:1/"}`
	if err := os.WriteFile(key, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	azure := map[string]*azuread.AzureADConfig{
		"managed identity":  {Cloud: azuread.AzurePublic, ManagedIdentity: &azuread.ManagedIdentityConfig{ClientID: id}},
		"OAuth":             {Cloud: azuread.AzurePublic, OAuth: &azuread.OAuthConfig{ClientID: id, ClientSecret: "s", TenantID: id}},
		"SDK":               {Cloud: azuread.AzurePublic, SDK: &azuread.SDKConfig{TenantID: id}},
		"workload identity": {Cloud: azuread.AzurePublic, WorkloadIdentity: &azuread.WorkloadIdentityConfig{ClientID: id, TenantID: id, TokenFilePath: key}},
	}
	for name, cfg := range azure {
		rw := route(t, "https://receiver.invalid/")
		rw.AzureADConfig = cfg
		if _, err := newClient(rw); err != nil {
			t.Errorf("Azure AD, %s: %v", name, err)
		}
	}
	rw := route(t, "https://receiver.invalid/")
	rw.GoogleIAMConfig = &googleiam.Config{CredentialsFile: key}
	_, want := googleiam.NewRoundTripper(rw.GoogleIAMConfig, http.DefaultTransport)
	_, got := newClient(rw)
	if (want == nil) != (got == nil) {
		t.Errorf("Google IAM: got %v, the library says %v", got, want)
	}
	rw.GoogleIAMConfig = &googleiam.Config{CredentialsFile: key + ".missing"}
	if _, err := newClient(rw); err == nil || !strings.Contains(err.Error(), "google_iam") {
		t.Errorf("Google IAM without its file: %v", err)
	}
}

// A receiver that says what it was sent does not bring it to people's eyes.
func TestNoSecretInWhatPeopleSee(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse"
	for name, mod := range map[string]func(rw *promconfig.RemoteWriteConfig){
		"URL":    func(rw *promconfig.RemoteWriteConfig) { rw.URL.User = url.UserPassword("me", secret) },
		"query":  func(rw *promconfig.RemoteWriteConfig) { rw.URL.RawQuery = "token=" + secret + "&x=y" },
		"header": func(rw *promconfig.RemoteWriteConfig) { rw.Headers = map[string]string{"X-Key": secret} },
		"bearer": func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.Authorization = &promcfg.Authorization{Type: "Bearer", Credentials: secret}
		},
		"basic": func(rw *promconfig.RemoteWriteConfig) {
			rw.HTTPClientConfig.BasicAuth = &promcfg.BasicAuth{Username: "u", Password: secret}
		},
	} {
		in := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			w.WriteHeader(http.StatusUnauthorized)
			for _, said := range []string{r.URL.String(), password, r.Header.Get("Authorization"), r.Header.Get("X-Key")} {
				_, _ = w.Write([]byte("you said " + said + "\n"))
			}
		}))
		rw := route(t, in.URL)
		mod(rw)
		c := clientFor(t, rw)
		for range 2 {
			a := c.post(t.Context(), false, []byte("x"), 0)
			if got := a.String(); strings.Contains(got, secret) || strings.Contains(got, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s: %s", name, got)
			}
			in.Close() // The second time nobody is there.
		}
	}
}
