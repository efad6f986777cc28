// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	promcfg "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
)

func TestUserinfoBecomesBasicAuth(t *testing.T) {
	parse := func(text string) *promcfg.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return &promcfg.URL{URL: u}
	}
	rw := &promconfig.RemoteWriteConfig{
		URL:              parse("https://user:hunter2@central/write"),
		HTTPClientConfig: promcfg.HTTPClientConfig{Authorization: &promcfg.Authorization{Credentials: "token"}},
	}
	got := withoutUserinfo(rw)
	if got.URL.String() != "https://central/write" {
		t.Errorf("URL is %s", got.URL)
	}
	if a := got.HTTPClientConfig.BasicAuth; a == nil || a.Username != "user" || a.Password != "hunter2" || got.HTTPClientConfig.Authorization != nil {
		t.Errorf("authentication is %+v", got.HTTPClientConfig)
	}
	if rw.URL.User == nil || rw.HTTPClientConfig.Authorization == nil {
		t.Error("the config given was changed")
	}
	plain := &promconfig.RemoteWriteConfig{URL: parse("https://central/write")}
	if got := withoutUserinfo(plain); got.HTTPClientConfig.BasicAuth != nil {
		t.Error("a URL without a user got basic_auth")
	}
}

// TestMetricsShowNoSecretOfAURL: they go on to others.
func TestMetricsShowNoSecretOfAURL(t *testing.T) {
	asked := make(chan string, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.RawQuery:
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(receiver.Close)
	r := newRig(t)
	r.apply("- url: " + receiver.URL + "/write?db=x&u=me&p=hunter2\n  queue_config: {batch_send_deadline: 5ms}\n")
	r.commit(1, 1)
	if got := <-asked; got != "db=x&u=me&p=hunter2" {
		t.Errorf("the receiver was asked with %q", got)
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := false
	for _, family := range families {
		text := family.String()
		shown = shown || strings.Contains(text, "/write?db=x&u=me&p=<secret>")
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s has a secret", family.GetName())
		}
	}
	if !shown {
		t.Error("the URL is in no metric")
	}
}
