// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestFactsShowNoSecretOfTheEnvironment(t *testing.T) {
	t.Setenv("CENTRAL_PASSWORD", "hunter2")
	t.Setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128/?token=hunter2")
	t.Setenv("http_proxy", "hunter2")
	t.Setenv("NODE_NAME", "node-7")
	t.Setenv("GOMEMLIMIT", "90MiB")
	dir := t.TempDir()
	var out bytes.Buffer
	if err := Facts(t.Context(), &out, dir); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, part := range []string{
		"system: " + runtime.GOOS + "/" + runtime.GOARCH, "clock: 2", `variable NODE_NAME: "node-7"`, `variable GOMEMLIMIT: "90MiB"`,
		"variable HTTPS_PROXY: set, host proxy.example:3128\n", "variable http_proxy: set\n", "data directory: " + dir,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not told in:\n%s", part, text)
		}
	}
	for _, secret := range []string{"hunter2", "CENTRAL_PASSWORD"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is told in:\n%s", secret, text)
		}
	}
	if runtime.GOOS == "linux" && (!strings.Contains(text, "== /proc/meminfo\nMemTotal:") || !strings.Contains(text, " bytes, free for the agent ")) {
		t.Errorf("memory or disk is not told in:\n%s", text)
	}
}

func TestFilesAreListedAndNotRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wal", "000\n1"), []byte("hunter2"), 0o000); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Files(t.Context(), &out, dir); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.Contains(text, `"wal/000\n1"`) || !strings.Contains(text, "in all 3 entries with 7 bytes") || strings.Contains(text, "hunter2") {
		t.Errorf("got:\n%s", text)
	}

	out.Reset()
	if err := Files(t.Context(), &out, filepath.Join(dir, "none")); err != nil || !strings.Contains(out.String(), "no such file") {
		t.Errorf("a directory that is not there: %v\n%s", err, &out)
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 2 {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", 1+i%200)+string(rune('a'+i/200))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := Files(t.Context(), &out, dir); err != nil || !strings.Contains(out.String(), "cut: there are more than 20000 files") {
		t.Errorf("%v, the end is %q", err, out.String()[out.Len()-200:])
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(Files(ended, &out, dir), Facts(ended, &out, dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

func TestAWriterThatFailsIsTold(t *testing.T) {
	broken := errors.New("gone")
	for _, write := range []func() error{
		func() error { return Facts(t.Context(), failing{broken}, t.TempDir()) },
		func() error { return Files(t.Context(), failing{broken}, t.TempDir()) },
	} {
		if err := write(); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
