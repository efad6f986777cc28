// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program runs Main and returns what it said.
func program(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = Main(args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestHelpIsTheGoldenFile(t *testing.T) {
	const golden = "testdata/help.txt"
	code, stdout, stderr := program("--help")
	if code != exitClean || stderr != "" {
		t.Fatalf("--help ended with %d and %q", code, stderr)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" { // make golden
		if err := os.WriteFile(golden, []byte(stdout), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), stdout); diff != "" {
		t.Errorf("--help differs from %s; if that is meant, run make golden (-want +got):\n%s", golden, diff)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, _ := program("--version")
	if code != exitClean || !strings.HasPrefix(stdout, "torchbearer, version") {
		t.Errorf("--version ended with %d and %q", code, stdout)
	}
}

func TestBadUsageIsOneLineAndExitCode2(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string
	}{
		{"--bogus", "unknown long flag '--bogus'"},
		{"bogus", "unexpected bogus"},
		{"--log.level=loud", `--log.level must be one of debug, info, warn, error, not "loud"`},
		{"--storage.agent.wal-compression-type=gzip", "--storage.agent.wal-compression-type must be one of snappy, zstd"},
		{"--storage.remote.flush-deadline=0s", "must be greater than 0"},
		{"--storage.remote.flush-deadline=soon", `--storage.remote.flush-deadline: not a valid duration string: "soon"`},
		{"--scrape.body-size-limit=much", `--scrape.body-size-limit: "much" is no size`},
		{"--storage.agent.wal-segment-size=10B", "between 10MB and 256MB"},
		{"--auto-gomemlimit.ratio=2", "at most 1"},
		{"--web.max-connections=0", "must be greater than 0"},
		{"--config.auto-reload-interval=0s", "--no-config.auto-reload"},
		{"--web.enable-remote-write-receiver", "it receives nothing"},
		{"--web.enable-otlp-receiver", "it receives nothing"},
		{"--enable-feature=native-histograms,bogus", `unknown feature "bogus"; known are: agent, auto-reload-config, concurrent-rule-eval`},
		{"--web.external-url=http://[::1", "--web.external-url"},
		{"--web.listen-address=nowhere", "--web.listen-address nowhere"},
		{"--storage.tsdb.path=/data", "unknown long flag"},
		{"--scrape.scope=pod", `--scrape.scope must be one of all, node, cluster, not "pod"`},
		{"--lease.duration=1s", "--lease.duration must be whole seconds from 4s to 1m0s"},
		{"--lease.duration=10h", "--lease.duration must be whole seconds"},
		{"--lease.duration=5500ms", "--lease.duration must be whole seconds"},
		{"--lease.name=Lease", "--lease.name"},
		{"--lease.name=", "--lease.name must not be empty"},
		{"--lease.namespace=a_b", "--lease.namespace"},
		{"check config", "required argument 'file' not provided"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, _, stderr := program(strings.Fields(tc.args)...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if !strings.Contains(stderr, tc.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got %q, want one line with %q", stderr, tc.want)
			}
		})
	}
}

const goodConfig = `global:
  external_labels: {clustername: aks-1, environment: prod}
remote_write: [{url: "https://central/api/v1/write"}]
scrape_configs: [{job_name: a, static_configs: [{targets: ["127.0.0.1:1"]}]}]
`

func TestCheckConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.yaml", goodConfig)
	bad := file("bad.yaml", strings.Replace(goodConfig, "environment: prod", "environment: '${TORCHBEARER_UNSET}'", 1)+"bogus: 1\n")

	code, stdout, stderr := program("check", "config", good)
	if code != exitClean || !strings.Contains(stdout, `good.yaml: good; scrape jobs: 1, destinations: 1, mandatory labels: {clustername="aks-1", environment="prod"}`) {
		t.Errorf("a good file: %d %q %q", code, stdout, stderr)
	}
	code, stdout, stderr = program("check", "config", good, bad, filepath.Join(dir, "none.yaml"))
	if code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, part := range []string{"bad.yaml:2:", "TORCHBEARER_UNSET", "bad.yaml:5:", "bogus", "none.yaml"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("%q does not say %q", stderr, part)
		}
	}
	if !strings.Contains(stdout, "good.yaml: good") {
		t.Errorf("the good file among bad ones is not reported: %q", stdout)
	}
	withFile := strings.Replace(goodConfig, `url: "https`, `basic_auth: {username: u, password_file: /does/not/exist}, url: "https`, 1)
	files := file("files.yaml", withFile)
	if code, _, stderr = program("check", "config", files); code != exitUsage || !strings.Contains(stderr, "/does/not/exist") {
		t.Errorf("a password file that is not there: %d %q", code, stderr)
	}
	if code, _, stderr = program("check", "config", "--syntax-only", files); code != exitClean {
		t.Errorf("--syntax-only: %d %q", code, stderr)
	}
	if code, _, stderr = program("--labels.required=team", "check", "config", good); code != exitUsage || !strings.Contains(stderr, "team") {
		t.Errorf("--labels.required does not count: %d %q", code, stderr)
	}
}

func TestStartErrorsAreOneLineWithTheRightExitCode(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // The tests may run in a pod.
	dir := t.TempDir()
	config := filepath.Join(dir, "torchbearer.yaml")
	if err := os.WriteFile(config, []byte(goodConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	notADirectory := filepath.Join(config, "data")
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no config", []string{"--config.file=" + filepath.Join(dir, "none.yaml")}, exitUsage, "none.yaml"},
		{"data directory", []string{"--config.file=" + config, "--storage.agent.path=" + notADirectory}, exitFailure, "choose another --storage.agent.path"},
		{"port", []string{"--config.file=" + config, "--web.listen-address=256.0.0.1:1"}, exitFailure, "256.0.0.1:1"},
		{"web config", []string{"--config.file=" + config, "--web.config.file=" + notADirectory}, exitUsage, "--web.config.file"},
		{"kubeconfig", []string{"--config.file=" + config, "--kubernetes.kubeconfig=" + notADirectory}, exitFailure, notADirectory},
		{"scope without Kubernetes", []string{"--config.file=" + config, "--scrape.scope=node"}, exitFailure, "--kubernetes.kubeconfig"},
		{"route prefix", []string{"--config.file=" + config, "--web.route-prefix=/a{b}"}, exitUsage, "--web.route-prefix"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"--log.level=error", "--no-auto-gomemlimit"}, tc.args...)
			for _, other := range []string{"--web.listen-address=127.0.0.1:0", "--storage.agent.path=" + filepath.Join(dir, "data")} {
				name, _, _ := strings.Cut(other, "=")
				if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, name) }) {
					args = append(args, other)
				}
			}
			code, _, stderr := program(args...)
			if code != tc.code || !strings.Contains(stderr, tc.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("got %d and %q, want %d and one line with %q", code, stderr, tc.code, tc.want)
			}
		})
	}
}
