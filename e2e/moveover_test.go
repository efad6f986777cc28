// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

// TestMoveOver starts with the command line of a Prometheus agent as the operator and the charts write it.
func TestMoveOver(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	app := startTarget(t, exposes(plain, "app 1\n"))
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(job("app", []string{app})),
		"--agent", "--enable-feature=agent", "--enable-feature=exemplar-storage,native-histograms",
		"--storage.agent.wal-compression", "--storage.agent.retention.min-time=5m", "--storage.agent.retention.max-time=4h",
		"--storage.agent.no-lockfile", "--storage.remote.flush-deadline=5s",
		"--web.external-url=http://agent.example.org/prometheus", "--web.route-prefix=/", "--web.read-timeout=5m",
		"--web.max-connections=64", "--log.level=info", "--log.format=json")
	wantUp(t, a, dest, "app")
	if !strings.Contains(a.Output(), `{"`) {
		t.Errorf("the log is not JSON:\n%s", a.Tail(3))
	}
	stop(t, a)
}

func TestRoutePrefix(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	a := runAgent(t, t.TempDir(), global(time.Second)+remoteWrite(dest.URL())+jobs(), "--web.external-url=http://example.org/a/b")
	a.url += "/a/b"
	a.wantMetric(t, success, 1)
	for _, path := range []string{"/-/healthy", "/-/ready", "/api/v1/targets", "/api/v1/status/config"} {
		if err := process.Answers(t.Context(), a.url+path); err != nil {
			t.Error(err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	writeFile(t, good, global(time.Second)+remoteWrite("http://127.0.0.1:1/write")+jobs(job("a", []string{"127.0.0.1:1"})))
	writeFile(t, bad, "rule_files: [x.yaml]\nremote_writes: []\n")

	f := func(name string, code int, want []string, args ...string) {
		t.Run(name, func(t *testing.T) {
			got, output := runToEnd(t, args...)
			if got != code {
				t.Errorf("exit code is %d, want %d:\n%s", got, code, output)
			}
			for _, part := range want {
				if !strings.Contains(output, part) {
					t.Errorf("the output does not tell %q:\n%s", part, output)
				}
			}
		})
	}
	f("version", 0, []string{"torchbearer, version 0.", "go version"}, "--version")
	f("help", 0, []string{"--config.file", "--storage.agent.path", "--labels.required", "check config"}, "--help")
	f("good config", 0, []string{"good.yaml"}, "check", "config", good)
	f("bad config", 2, []string{"bad.yaml:1", "rule_files", "bad.yaml:2", "remote_writes", "clustername", "environment"}, "check", "config", bad)
	f("good and bad config", 2, []string{"good.yaml", "bad.yaml"}, "check", "config", good, bad)
	f("unknown feature", 2, []string{"exemplar-storge", "exemplar-storage", "native-histograms"}, "--enable-feature=exemplar-storge")
}
