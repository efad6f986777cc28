// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	promcfg "github.com/prometheus/common/config"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, cert: cert, key: key}
}

// issue returns a certificate for a name or address, good from an hour ago.
func (a *authority) issue(name string, until time.Time) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pair(name string, until time.Time) *tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.issue(name, until))
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair
}

func store(t *testing.T, file string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each certificate of a receiver that is no good parks; once it is good, or the
// CA file is, all goes on.
func TestCertificatesThatAreMended(t *testing.T) {
	t.Parallel()
	right, wrong := newAuthority(t, "right"), newAuthority(t, "wrong")
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		first  *tls.Certificate
		mendCA bool
		says   string
	}{
		"expired":              {first: right.pair("127.0.0.1", time.Now().Add(-time.Minute)), says: "expired"},
		"of another name":      {first: right.pair("receiver.example", soon), says: "127.0.0.1"},
		"of another authority": {first: wrong.pair("127.0.0.1", soon), says: "unknown authority"},
		"of a new authority":   {first: wrong.pair("127.0.0.1", soon), mendCA: true, says: "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := store(t, filepath.Join(t.TempDir(), "ca.pem"), right.pem())
			var now atomic.Pointer[tls.Certificate]
			now.Store(c.first)
			in := unstartedInbox(t, always(204))
			in.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: []tls.Certificate{*now.Load()}}, nil
			}}
			in.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
			in.StartTLS()
			s, _ := quick(t)
			set := settingsFor(t, in.URL, false)
			rw := route(t, in.URL)
			rw.HTTPClientConfig.TLSConfig = promcfg.TLSConfig{CAFile: ca}
			set.client = clientFor(t, rw)
			done := make(chan error, 1)
			go func() { done <- s.deliver(t.Context(), set, makePoints(3, 1), &fates{}) }()
			eventually(t, func() bool { return !s.state.snapshot().ParkedSince.IsZero() })
			if got := s.state.snapshot().LastError; !strings.Contains(got, c.says) {
				t.Errorf("the last error is %q", got)
			}
			if c.mendCA {
				store(t, ca, append(right.pem(), wrong.pem()...))
			} else {
				now.Store(right.pair("127.0.0.1", soon))
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantStored(t, in, 3, 1)
		})
	}
}

func TestClientCertificateThatIsRotated(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "right")
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	var who atomic.Pointer[string]
	in := unstartedInbox(t, always(204))
	in.TLS = &tls.Config{
		Certificates: []tls.Certificate{*a.pair("127.0.0.1", time.Now().Add(time.Hour))},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
		VerifyConnection: func(c tls.ConnectionState) error {
			who.Store(&c.PeerCertificates[0].Subject.CommonName)
			return nil
		},
	}
	in.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	in.StartTLS()
	dir := t.TempDir()
	cert, key := a.issue("old", time.Now().Add(-time.Minute))
	certFile, keyFile := store(t, filepath.Join(dir, "cert"), cert), store(t, filepath.Join(dir, "key"), key)
	rw := route(t, in.URL)
	rw.HTTPClientConfig.TLSConfig = promcfg.TLSConfig{
		CAFile: store(t, filepath.Join(dir, "ca"), a.pem()), CertFile: certFile, KeyFile: keyFile,
	}
	s, _ := quick(t)
	set := settingsFor(t, in.URL, false)
	set.client = clientFor(t, rw)
	done := make(chan error, 1)
	go func() { done <- s.deliver(t.Context(), set, makePoints(3, 1), &fates{}) }()
	eventually(t, func() bool { return !s.state.snapshot().ParkedSince.IsZero() })
	for _, name := range []string{"first", "second"} {
		cert, key := a.issue(name, time.Now().Add(time.Hour))
		store(t, keyFile, key)
		store(t, certFile, cert)
		if name == "second" {
			go func() { done <- s.deliver(t.Context(), set, makePoints(3, 1), &fates{}) }()
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := *who.Load(); got != name {
			t.Errorf("the receiver saw the certificate of %q, want %q", got, name)
		}
	}
}

func TestTLSWhereThereIsNone(t *testing.T) {
	t.Parallel()
	plain := newInbox(t, always(204))
	c := clientFor(t, route(t, strings.Replace(plain.URL, "http:", "https:", 1)))
	if a := c.post(t.Context(), false, []byte{0}, 0); a.verdict != park {
		t.Errorf("https to a http server: %+v", a)
	}
	secure := unstartedInbox(t, always(204))
	secure.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	secure.StartTLS()
	c = clientFor(t, route(t, strings.Replace(secure.URL, "https:", "http:", 1)))
	if a := c.post(t.Context(), false, []byte{0}, 0); a.verdict == stored || a.verdict == tooLarge {
		t.Errorf("http to a https server: %+v", a)
	}
}
