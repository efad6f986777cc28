// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An agent is a running torchbearer.
type agent struct {
	*process.Process
	url    string // http://host:port
	dir    string
	config string // path of the config file
	data   string // path of the data directory
}

// startAgent runs torchbearer on this config until the test ends, and waits until it is ready.
func startAgent(t *testing.T, config string, flags ...string) *agent {
	t.Helper()
	a := runAgent(t, t.TempDir(), config, flags...)
	a.until(t, 60*time.Second, "the agent is ready", func(ctx context.Context) error {
		return process.Answers(ctx, a.url+"/-/ready")
	})
	return a
}

// runAgent is startAgent without waiting, in a folder that may hold what another run has left.
func runAgent(t *testing.T, dir, config string, flags ...string) *agent {
	t.Helper()
	address := freeAddress(t)
	a := &agent{
		url: "http://" + address, dir: dir,
		config: filepath.Join(dir, "torchbearer.yaml"), data: filepath.Join(dir, "data"),
	}
	if config != "" {
		writeFile(t, a.config, config)
	}
	args := []string{
		"--config.file=" + a.config, "--storage.agent.path=" + a.data,
		"--web.listen-address=" + address, "--web.enable-lifecycle",
	}
	if !slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "--heartbeat.interval") }) {
		args = append(args, "--heartbeat.interval=0") // Most tests count all that comes.
	}
	a.Process = startProcess(t, torchbearer(t), append(args, flags...)...)
	return a
}

// runToEnd runs torchbearer with only these arguments and returns its exit code and output.
func runToEnd(t *testing.T, args ...string) (int, string) {
	t.Helper()
	p := startProcess(t, torchbearer(t), args...)
	code, err := p.Wait(60 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return code, p.Output()
}

func startProcess(t *testing.T, path string, args ...string) *process.Process {
	t.Helper()
	p, err := process.Start(t.Context(), process.Options{Path: path, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", filepath.Base(path), p.Tail(60))
		}
		// A binary built with -race says so and goes on.
		if strings.Contains(p.Output(), "WARNING: DATA RACE") {
			t.Errorf("data race in %s:\n%s", filepath.Base(path), p.Output())
		}
	})
	return p
}

func torchbearer(t *testing.T) string {
	t.Helper()
	path, err := process.Torchbearer()
	if err != nil {
		t.Fatalf("find the program under test: %v", err)
	}
	return path
}

// until polls as long as the agent lives.
func (a *agent) until(t *testing.T, timeout time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := a.Until(ctx, func() error { return check(ctx) }); err != nil {
		t.Fatalf("within %s: %s: %v", timeout, what, err)
	}
}

func until(t *testing.T, timeout time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := process.Until(ctx, func() error { return check(ctx) }); err != nil {
		t.Fatalf("within %s: %s: %v", timeout, what, err)
	}
}

// startCentral runs a real Prometheus that takes remote write, and returns its address.
func startCentral(t *testing.T) string {
	t.Helper()
	path, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	writeFile(t, config, "global: {}\nstorage: {exemplars: {max_exemplars: 10000}}\n")
	p := startProcess(t, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn",
		"--enable-feature=exemplar-storage,type-and-unit-labels")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := p.Until(ctx, func() error { return process.Answers(ctx, "http://"+address+"/-/ready") }); err != nil {
		t.Fatalf("start the central Prometheus: %v", err)
	}
	return "http://" + address
}

func startReceiver(t *testing.T) *receiver.Receiver {
	t.Helper()
	r := receiver.New()
	if err := r.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for _, problem := range r.Malformed() {
			t.Errorf("malformed remote-write request: %s", problem)
		}
	})
	return r
}

func startFleet(t *testing.T, options load.Options) *load.Fleet {
	t.Helper()
	f, err := load.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// startTarget serves one scrape target and returns its host:port.
func startTarget(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// exposes is a target that shows always the same text.
func exposes(format, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", format)
		_, _ = fmt.Fprint(w, text)
	})
}

// The content types of the formats that targets answer with.
const (
	plain       = "text/plain; version=0.0.4"
	openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// duration reads a duration from the environment, so that a long run needs no other code.
func duration(t *testing.T, name string, or time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return or
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("environment variable %s: %v", name, err)
	}
	return d
}
