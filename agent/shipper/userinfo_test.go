// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/url"
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
