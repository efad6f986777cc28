// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// passwordHash is bcrypt's, with the least cost, of "pa55".
const passwordHash = "$2a$04$xXDb0Z4e3JaiPXHfVCEF5uBeXUs2iwNdb/MPrPkegJXK8lFCPxG6K"

// makeCertificate writes cert.pem and key.pem for 127.0.0.1 into dir and returns the pool that trusts them.
func makeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "agent"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, filepath.Join(dir, "cert.pem"), string(cert))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, pool *x509.CertPool, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestTLSAndBasicAuth(t *testing.T) {
	dir := t.TempDir()
	pool := makeCertificate(t, dir)
	file := filepath.Join(dir, "web.yml")
	write(t, file, "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {me: "+passwordHash+"}\n"+
		"http_server_config: {headers: {Content-Security-Policy: \"default-src 'self'\"}}\n")
	opts := newOptions(t)
	agent := &fakeAgent{}
	opts.ConfigFile, opts.Agent = file, agent
	r := run(t, opts, nil)
	f := func(method, path, user, password string, http2 bool, code int) {
		t.Helper()
		for i := range r.opts.Listeners {
			req, err := http.NewRequest(method, "https://"+r.address(i)+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if user != "" {
				req.SetBasicAuth(user, password)
			}
			resp, err := client(t, pool, http2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, resp); resp.StatusCode != code || (resp.ProtoMajor == 2) != http2 {
				t.Errorf("%s %s as %s on listener %d: %d by %s, want %d; %q", method, path, user, i, resp.StatusCode, resp.Proto, code, body)
			}
			if got := resp.Header.Get("Content-Security-Policy"); got != "default-src 'self'" {
				t.Errorf("Content-Security-Policy %q is not the user's", got)
			}
		}
	}
	f("GET", "/metrics", "me", "pa55", false, 200)
	f("GET", "/metrics", "me", "pa55", true, 200)
	f("GET", "/metrics", "", "", true, 401)
	f("GET", "/-/ready", "me", "wrong", true, 401)
	f("POST", "/-/reload", "you", "pa55", true, 401)
	if n := agent.reloads.Load(); n != 0 {
		t.Errorf("%d reloads without a password", n)
	}
	f("POST", "/-/reload", "me", "pa55", true, 200)
	if code, body := get(t, r.base+"/metrics"); code != 400 || strings.Contains(body, "torchbearer") {
		t.Errorf("plain HTTP on a TLS port: %d %q", code, body)
	}
}

func TestTooManyStreams(t *testing.T) {
	dir := t.TempDir()
	pool := makeCertificate(t, dir)
	write(t, filepath.Join(dir, "web.yml"), "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
	var arrived sync.WaitGroup
	release := make(chan struct{})
	opts := newOptions(t)
	opts.ConfigFile, opts.MaxConnections = filepath.Join(dir, "web.yml"), 1
	opts.Agent = &fakeAgent{reload: func(context.Context) error { arrived.Done(); <-release; return nil }}
	r := run(t, opts, func(l *limits) { l.requests = 3 })
	c := client(t, pool, true)
	url := strings.Replace(r.base, "http:", "https:", 1)
	codes := make(chan int)
	arrived.Add(3)
	for range 3 {
		go func() {
			resp, err := c.Post(url+"/-/reload", "", nil)
			if err != nil {
				codes <- 0
				return
			}
			resp.Body.Close()
			codes <- resp.StatusCode
		}()
	}
	arrived.Wait()
	for path, code := range map[string]int{"/metrics": 503, "/-/ready": 200} {
		resp, err := c.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		if body := text(t, resp); resp.StatusCode != code {
			t.Errorf("%s over the same connection: %d %q, want %d", path, resp.StatusCode, body, code)
		}
	}
	close(release)
	for range 3 {
		if code := <-codes; code != 200 {
			t.Errorf("a reload got %d", code)
		}
	}
}

func TestBadWebConfig(t *testing.T) {
	dir := t.TempDir()
	f := func(content, want string) {
		t.Helper()
		file := filepath.Join(dir, "web.yml")
		write(t, file, content)
		opts := newOptions(t)
		opts.ConfigFile = file
		_, err := New(opts)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--web.config.file") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want the file's name and %q", content, err, want)
		}
	}
	f("tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.key}\n", "nowhere.pem")
	f("tls_server_config: {cert_file: cert.pem}\n", "missing one of key or key_file")
	f("basic_auth_users: {me: plain-text-password}\n", "hash")
	f("no_such_field: 1\n", "no_such_field")
	f("{", "yaml")
	opts := newOptions(t)
	opts.ConfigFile = dir
	if _, err := New(opts); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}
