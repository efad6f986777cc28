// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// An authority signs all certificates of one cluster, those of kubelets included, and the tokens of its service
// accounts.
type authority struct {
	dir         string // where it writes what the programs of the cluster read
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	tokenKey    *ecdsa.PrivateKey
	pem         []byte // the certificate
}

// A pair is a certificate with its key.
type pair struct {
	certificate, key []byte // PEM
}

func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tokenKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, certificate: certificate, key: key, tokenKey: tokenKey, pem: pemOf("CERTIFICATE", der)}
	if err := a.writeKeys(); err != nil {
		return nil, fmt.Errorf("write the keys of the cluster: %w", err)
	}
	return a, nil
}

func (a *authority) writeKeys() error {
	private, err := x509.MarshalPKCS8PrivateKey(a.tokenKey)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(a.tokenKey.Public())
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"ca.crt": a.pem, "sa.key": pemOf("PRIVATE KEY", private), "sa.pub": pemOf("PUBLIC KEY", public),
	} {
		if err := os.WriteFile(a.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue signs a certificate for servers and clients; hosts are names and addresses.
func (a *authority) issue(name, organization string, hosts ...string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{organization}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{certificate: pemOf("CERTIFICATE", der), key: pemOf("PRIVATE KEY", private)}, nil
}

// issueFiles is issue into file.crt and file.key.
func (a *authority) issueFiles(file, name, organization string, hosts ...string) error {
	issued, err := a.issue(name, organization, hosts...)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.path(file+".crt"), issued.certificate, 0o600); err != nil {
		return err
	}
	return os.WriteFile(a.path(file+".key"), issued.key, 0o600)
}

// clientTLS trusts this authority, and shows the certificate when there is one.
func (a *authority) clientTLS(shown *pair) (*tls.Config, error) {
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AddCert(a.certificate)
	if shown != nil {
		certificate, err := tls.X509KeyPair(shown.certificate, shown.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// issuer is what the tokens of service accounts name as theirs.
const issuer = "https://kubernetes.default.svc.cluster.local"

// leeway is how much longer than they say the API server takes tokens.
const leeway = time.Minute

// token signs the token of a service account. The API server would do it for ten minutes at least; a test of expired
// tokens has no such time.
func (a *authority) token(namespace, name, uid string, life time.Duration) (string, error) {
	begin := time.Now().Add(-2 * leeway)
	account := map[string]string{"name": name, "uid": uid}
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": []string{issuer}, "sub": "system:serviceaccount:" + namespace + ":" + name,
		"iat": begin.Unix(), "nbf": begin.Unix(), "exp": time.Now().Add(life - leeway).Unix(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": account},
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(claims)
	signature, err := signES256(a.tokenKey, text)
	if err != nil {
		return "", err
	}
	return text + "." + encode(signature), nil
}

// signES256 is the signature of JSON web tokens: two numbers of 32 bytes each.
func signES256(key *ecdsa.PrivateKey, text string) ([]byte, error) {
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
