// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allows is a target that shows its metrics only to those whom check lets in.
func allows(check func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !check(r) {
			http.Error(w, "go away", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", plain)
		_, _ = fmt.Fprintln(w, "app 1")
	})
}

// tokens is an OAuth 2 server that gives the token "from-oauth" to those who know the secret.
func tokens() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id == "" {
			id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
		}
		if id != "me" || secret != "oauth-secret" || r.FormValue("grant_type") != "client_credentials" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token":"from-oauth","token_type":"Bearer","expires_in":3600}`)
	})
}

func bearer(token string) http.Handler {
	return allows(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token })
}

// TestAuthentication: each way to prove who one is opens its target; a wrong proof is told as what it is.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, text)
		return path
	}
	secure := httptest.NewUnstartedServer(exposes(plain, "app 1\n"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // One client is meant to refuse it.
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	secureAddress := secure.Listener.Addr().String()
	basic := startTarget(t, allows(func(r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		return user == "me" && password == "basic-secret"
	}))
	byFile := startTarget(t, bearer("from-file"))
	byOAuth := startTarget(t, bearer("from-oauth"))
	tokenURL := "http://" + startTarget(t, tokens()) + "/token"

	dest := startReceiver(t)
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(
		job("tls", []string{secureAddress}, "scheme: https", "tls_config: {ca_file: "+ca+"}"),
		job("tls-unknown", []string{secureAddress}, "scheme: https"),
		job("basic", []string{basic}, "basic_auth: {username: me, password_file: "+file("password", "basic-secret")+"}"),
		job("basic-wrong", []string{basic}, "basic_auth: {username: me, password: not-it}"),
		job("bearer", []string{byFile}, "authorization: {credentials_file: "+file("token", "from-file")+"}"),
		job("oauth", []string{byOAuth}, "oauth2: {client_id: me, client_secret: oauth-secret, token_url: '"+tokenURL+"'}"),
		job("oauth-wrong", []string{byOAuth}, "oauth2: {client_id: me, client_secret: not-it, token_url: '"+tokenURL+"'}"),
	))

	wantUp(t, a, dest, "tls", "basic", "bearer", "oauth")
	a.wantDown(t, "tls-unknown", "certificate signed by unknown authority")
	a.wantDown(t, "basic-wrong", "401")
	a.wantDown(t, "oauth-wrong", "invalid_client")
	for _, secret := range []string{"basic-secret", "oauth-secret", "from-file", "from-oauth", "not-it"} {
		if strings.Contains(a.Output(), secret) {
			t.Errorf("the log shows the secret %q", secret)
		}
	}
}
