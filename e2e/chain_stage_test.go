// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // {SHA} is what nginx reads without a program that makes hashes.
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// The environments of deploy/central, and the passwords and names that its files leave to the user.
const (
	prod, nonprod = "prod", "nonprod"

	agentPassword = "agent-s3cret"
	adminPassword = "admin-s3cret"

	promURL        = "https://prometheus-server.example.com"
	promURLNonprod = "https://prometheus-server-nonprod.example.com"
)

// A chain is what agents ship into: nginx with TLS and passwords, behind it two centrals and an InfluxDB. All run on the
// plain files of deploy/central, of which only addresses and paths are changed.
type chain struct {
	dir      string
	nginx    string // host:port
	ca       string // path of a PEM file
	proxy    string // URL of what takes the place of DNS
	client   *http.Client
	central  map[string]*central // by environment
	database map[string]string   // by environment
	influx   map[string]string   // host:port past nginx, by environment
}

// A central is a running Prometheus.
type central struct {
	*process.Process
	url string // past nginx
}

// startChain runs the whole chain until the test ends; edits are pairs of text in nginx.conf and what stands there instead.
func startChain(t *testing.T, edits ...string) *chain {
	t.Helper()
	nginx, influxd := debian(t, "nginx"), debian(t, "influxd")
	c := &chain{
		dir: t.TempDir(), nginx: freeAddress(t), influx: map[string]string{prod: freeAddress(t), nonprod: freeAddress(t)},
		central:  map[string]*central{prod: {url: "http://" + freeAddress(t)}, nonprod: {url: "http://" + freeAddress(t)}},
		database: map[string]string{prod: "prodPrometheus", nonprod: "nonprodPrometheus"},
	}
	c.makeCertificate(t)
	c.startProxy(t)
	for env := range c.influx {
		c.startInflux(t, influxd, env)
	}
	c.startNginx(t, nginx, edits)
	for _, env := range []string{prod, nonprod} {
		c.startCentral(t, env, c.central[env], filepath.Join(c.dir, env))
	}
	return c
}

// debian finds a program of a Debian package, or skips the test.
func debian(t *testing.T, name string) string {
	t.Helper()
	for _, file := range []string{name, "/usr/sbin/" + name} { // The latter is not on everybody's path.
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s: the chain cannot be run; e2e/packages.sh installs it as root on Debian", name)
	return ""
}

// substitute replaces texts by pairs of old and new; each old one has to be there, else the file is another one.
func substitute(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the text does not have %q:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func readDeploy(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// makeCertificate writes tls.crt and tls.key for all names under example.com, and makes a client that knows them.
func (c *chain) makeCertificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"*.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(c.dir, "nginx", "tls"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.ca = filepath.Join(c.dir, "nginx", "tls", "tls.crt")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	writeFile(t, c.ca, string(certificate))
	writeFile(t, filepath.Join(c.dir, "nginx", "tls", "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	c.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, c.nginx)
		},
	}}
}

// startNginx serves deploy/central/nginx.conf as the file in conf.d that it is.
func (c *chain) startNginx(t *testing.T, path string, edits []string) {
	t.Helper()
	dir := filepath.Join(c.dir, "nginx")
	site := substitute(t, readDeploy(t, "central/nginx.conf"), append([]string{
		"listen 443 ", "listen " + c.nginx + " ", "/etc/nginx/", dir + "/", "127.0.0.1:8086", c.influx[prod], "127.0.0.1:8087", c.influx[nonprod],
		"127.0.0.1:9090", strings.TrimPrefix(c.central[prod].url, "http://"),
		"127.0.0.1:9091", strings.TrimPrefix(c.central[nonprod].url, "http://"),
	}, edits...)...)
	writeFile(t, filepath.Join(dir, "site.conf"), site)
	for env, user := range map[string]string{prod: "Prod01", nonprod: "Test01"} {
		hash := sha1.Sum([]byte(agentPassword)) //nolint:gosec // see the import
		writeFile(t, filepath.Join(dir, "prometheus-"+env+".htpasswd"),
			user+":{SHA}"+base64.StdEncoding.EncodeToString(hash[:])+"\n")
	}
	var main strings.Builder
	if os.Geteuid() == 0 {
		main.WriteString("user root;\n") // The workers have to read the test's folder.
	}
	fmt.Fprintf(&main, "daemon off;\npid %s/pid;\nerror_log stderr info;\nworker_processes 1;\nevents {}\nhttp {\n  access_log off;\n", dir)
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&main, "  %s_temp_path %s/%s;\n", name, dir, name)
	}
	fmt.Fprintf(&main, "  include %s/site.conf;\n}\n", dir)
	writeFile(t, filepath.Join(dir, "nginx.conf"), main.String())
	p := startProcess(t, path, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	// The workers are no children that Close would wait for: they go with the process group, or when asked.
	t.Cleanup(func() { _, _ = p.Stop(5 * time.Second) })
	c.wait(t, p, "nginx answers", func(ctx context.Context) error {
		status, _, err := c.get(ctx, promURL+"/-/ready", "", "")
		if err == nil && status != http.StatusUnauthorized {
			err = fmt.Errorf("without a password it answers %d", status)
		}
		return err
	})
}

// startInflux runs the InfluxDB of an environment on deploy/central/influxdb.conf, and executes its .iql file.
func (c *chain) startInflux(t *testing.T, path, env string) {
	t.Helper()
	config := filepath.Join(c.dir, "influxdb-"+env+".conf")
	writeFile(t, config, substitute(t, readDeploy(t, "central/influxdb.conf"), "/var/lib/influxdb", filepath.Join(c.dir, "influxdb-"+env),
		"127.0.0.1:8088", freeAddress(t), "127.0.0.1:8086", c.influx[env]))
	p := startProcess(t, path, "-config", config)
	admin := "CREATE USER admin WITH PASSWORD '" + adminPassword + "' WITH ALL PRIVILEGES"
	c.wait(t, p, "InfluxDB takes its first user", func(ctx context.Context) error {
		return c.influxPost(ctx, env, "/query?q="+escape(admin), "", "", "")
	})
	setup := substitute(t, readDeploy(t, "central/influxdb-"+env+".iql"), "'PASSWORD'", "'"+c.influxPassword(env)+"'")
	if err := c.influxPost(t.Context(), env, "/query?q="+escape(setup), "admin", adminPassword, ""); err != nil {
		t.Fatal(err)
	}
}

// influxPassword is that of the user prometheus-<env>.
func (c *chain) influxPassword(env string) string { return env + "-s3cret" }

// startCentral runs a Prometheus on the config of this environment, with its data in dir.
func (c *chain) startCentral(t *testing.T, env string, s *central, dir string) {
	t.Helper()
	path, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(c.dir, "influxdb-password-"+env)
	writeFile(t, password, c.influxPassword(env)+"\n")
	address := strings.TrimPrefix(s.url, "http://")
	text := readDeploy(t, "central/prometheus-"+env+".yml")
	port := map[string]string{prod: "9090", nonprod: "9091"}[env]
	text = substitute(t, text, "localhost:"+port, address, "/etc/prometheus/secrets/influxdb-"+env+"/password", password,
		"  name: influxdb\n", "  name: influxdb\n"+indent(2, c.way()),
		"scrape_interval: 1m", "scrape_interval: 1s", "scrape_timeout: 10s", "scrape_timeout: 1s")
	config := dir + ".yml"
	writeFile(t, config, text)
	s.Process = startProcess(t, path, "--config.file="+config, "--storage.tsdb.path="+dir, "--storage.tsdb.retention.time=15d",
		"--web.enable-remote-write-receiver", "--web.listen-address="+address)
	c.wait(t, s.Process, "the central of "+env+" is ready", func(ctx context.Context) error {
		return process.Answers(ctx, s.url+"/-/ready")
	})
}

func (c *chain) wait(t *testing.T, p *process.Process, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := p.Until(ctx, func() error { return check(ctx) }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// way is how a client finds nginx and trusts it, as lines of its config.
func (c *chain) way() []string {
	return []string{"proxy_url: " + c.proxy, "tls_config: {ca_file: " + c.ca + "}"}
}

// ship is a remote_write section with one destination behind nginx.
func (c *chain) ship(url, user, passwordFile string, extra ...string) string {
	return remoteWrite(url, append(append(c.way(),
		"basic_auth: {username: "+user+", password_file: "+passwordFile+"}", soon), extra...)...)
}

// startProxy leads every connection through it to nginx, so that the names of example.com need no DNS.
func (c *chain) startProxy(t *testing.T) {
	t.Helper()
	var tunnels sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nginx, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", c.nginx)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		// Hijacked before it is answered: until then the server's reader may take what the client says next.
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = nginx.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n") // When it fails, the copies end at once.
		for _, pair := range [][2]net.Conn{{client, nginx}, {nginx, client}} {
			tunnels.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // It ends with either side.
				_ = client.Close()
				_ = nginx.Close()
			})
		}
	}))
	c.proxy = server.URL
	t.Cleanup(func() {
		server.Close()
		tunnels.Wait() // All clients have ended before: they were started later.
	})
}

var errNotYet = errors.New("not yet")

// instead makes the global section of another cluster and environment.
func instead(cluster, env string) string {
	text := regexp.MustCompile(`clustername: .*`).ReplaceAllString(global(time.Second), "clustername: "+cluster)
	return regexp.MustCompile(`environment: .*`).ReplaceAllString(text, "environment: "+env)
}
