// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// planted are the secrets of secretConfig and of what surrounds it. No word of the program has them.
func planted() []string {
	var secrets []string
	for i := range 12 {
		secrets = append(secrets, fmt.Sprintf("hunter%02d", i))
	}
	return append(secrets, "xXDb0Z4e3JaiPXHfVCEF5u") // of the hash of the password for the agent's own port
}

// secretConfig has a secret wherever one can stand, and neighbours that do not answer, so that libraries complain.
const secretConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {clustername: aks-1, environment: prod}}
remote_write:
- {name: url, url: "http://me:hunter00@127.0.0.1:1/write?db=x&token=hunter01", headers: {X-Token: hunter02}}
- {name: basic, url: "http://127.0.0.1:1/write", basic_auth: {username: me, password: hunter03}}
- {name: bearer, url: "http://127.0.0.1:1/write", authorization: {credentials: hunter04}, proxy_url: "http://me:hunter05@127.0.0.1:1"}
scrape_configs:
- job_name: discovered
  http_sd_configs: [{url: "http://me:hunter06@127.0.0.1:1/targets?sig=hunter07", refresh_interval: 1s}]
- job_name: down
  params: {token: [hunter08]}
  authorization: {credentials: hunter09}
  static_configs: [{targets: ["127.0.0.1:1"]}]
  relabel_configs: []
- job_name: dropped
  static_configs: [{targets: ["127.0.0.1:1", "127.0.0.1:2"]}]
  relabel_configs: [{action: drop, regex: ".*"}]
`

// bundleFiles are the files of a bundle by their names.
func bundleFiles(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files, bundle := map[string]string{}, tar.NewReader(unpacked)
	for {
		header, err := bundle.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(bundle)
		if err != nil {
			t.Fatal(err)
		}
		files[path.Base(header.Name)] = string(content)
	}
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSupportBundle(t *testing.T) {
	t.Setenv("CENTRAL_PASSWORD", "hunter10")
	t.Setenv("HTTPS_PROXY", "http://me:hunter11@127.0.0.1:1")
	dir := t.TempDir()
	webConfig, asking := filepath.Join(dir, "web.yaml"), filepath.Join(dir, "asking.yaml")
	writeFile(t, webConfig, "basic_auth_users: {me: $2a$04$xXDb0Z4e3JaiPXHfVCEF5uBeXUs2iwNdb/MPrPkegJXK8lFCPxG6K}\n")
	writeFile(t, asking, "basic_auth: {username: me, password: pa55}\n")
	a := runAgent(t, dir, secretConfig, "--web.config.file="+webConfig, "--log.level=error")
	withPassword := strings.Replace(a.url, "//", "//me:pa55@", 1)
	a.until(t, 90*time.Second, "the agent is ready, and both libraries and its own code have complained", func(ctx context.Context) error {
		if err := process.Answers(ctx, withPassword+"/-/ready"); err != nil {
			return err
		}
		_, body, err := process.Get(ctx, withPassword+"/api/v1/status/log")
		if err == nil && (!strings.Contains(body, "component=targets") || !strings.Contains(body, "component=shipper")) {
			err = fmt.Errorf("the log tail is %s", body)
		}
		return err
	})

	out := filepath.Join(dir, "bundle.tar.gz")
	if code, said := runToEnd(t, "support", "--url="+a.url, "--http.config.file="+asking, "-o", out); code != 0 || !strings.Contains(said, out+": ") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	byCommand, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	status, byHTTP, err := process.Get(t.Context(), withPassword+"/api/v1/support")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v: %.300s", status, err, byHTTP)
	}
	for how, packed := range map[string][]byte{"command": byCommand, "HTTP": []byte(byHTTP)} {
		checkBundle(t, how, bundleFiles(t, packed))
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".torchbearer-support-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	code, said := runToEnd(t, "support", "--url="+a.url, "-o", filepath.Join(dir, "none.tar.gz"))
	if code != 1 || !strings.Contains(said, "401") || !strings.Contains(said, "--http.config.file") {
		t.Errorf("without a password: exit code %d: %s", code, said)
	}
}

func checkBundle(t *testing.T, how string, files map[string]string) {
	t.Helper()
	for name, part := range map[string]string{
		"README.txt":        "Support bundle of a Torchbearer agent",
		"ready.txt":         "Torchbearer is Ready.",
		"config.yaml":       "password: <secret>",
		"destinations.json": `"name":"bearer"`,
		"scopes.json":       `"job":"down"`,
		"flags.json":        `"log.level":"error"`,
		"buildinfo.json":    `"goVersion":"go`,
		"runtimeinfo.json":  `"GOMAXPROCS":`,
		"log.json":          `"level":"warn"`,
		"targets.jsonl":     `"scrapePool":"down"`,
		"dropped.jsonl":     `{"droppedTargetCounts":{`,
		"metrics.txt":       "torchbearer_log_lines_total{level=\"warn\"}",
		"goroutines.txt":    "torchbearer/agent.(*Agent).Run",
		"heap.pprof":        "\x1f\x8b",
		"host.txt":          "== /proc/meminfo",
		"data.txt":          `"last-good-config.json"`,
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("by %s: %s has no %q: %.500q", how, name, part, files[name])
		}
	}
	if n := strings.Count(files["dropped.jsonl"], `"scrapePool":"dropped"`); n != 2 {
		t.Errorf("by %s: %d dropped targets, want 2: %s", how, n, files["dropped.jsonl"])
	}
	if errs, found := files["errors.txt"]; found {
		t.Errorf("by %s: errors.txt: %s", how, errs)
	}
	heap, err := gzip.NewReader(strings.NewReader(files["heap.pprof"]))
	if err != nil {
		t.Fatal(err)
	}
	profile, err := io.ReadAll(heap)
	if err != nil {
		t.Fatal(err)
	}
	files["heap.pprof, unpacked"] = string(profile)
	for name, text := range files {
		for _, secret := range planted() {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("by %s: %s has the secret %s: ...%q", how, name, secret, text[max(0, at-100):at+len(secret)])
			}
		}
	}
}

func TestSupportOfNoAgent(t *testing.T) {
	dir := t.TempDir()
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		packed := gzip.NewWriter(w)
		bundle := tar.NewWriter(packed)
		_ = bundle.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a/b.txt", Size: 1 << 20, Mode: 0o600})
		_, _ = bundle.Write(make([]byte, 1<<10))
		_ = packed.Flush()
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // The connection ends here.
	}
	for name, tc := range map[string]struct{ url, want string }{
		"nobody listens":   {"http://me:hunter2@" + freeAddress(t), "connection refused; is it running, and is --url its address?"},
		"no URL":           {"localhost:9090", "--url localhost:9090: write http://"},
		"something else":   {"http://" + startTarget(t, http.NotFoundHandler()), "is this a torchbearer?"},
		"no bundle":        {"http://" + startTarget(t, exposes(plain, "up 1\n")), "is it a torchbearer?"},
		"half of a bundle": {"http://" + startTarget(t, http.HandlerFunc(half)), "the bundle did not come whole"},
	} {
		code, said := runToEnd(t, "support", "--url="+tc.url, "-o", filepath.Join(dir, "bundle.tar.gz"))
		if code != 1 || !strings.Contains(said, tc.want) || strings.Contains(said, "hunter2") || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d, want 1 and one line with %q: %s", name, code, tc.want, said)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
