// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodText = `global: {external_labels: {clustername: a, environment: b}}
remote_write: [{url: "https://central.example/api/v1/write"}]
`

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func required() Options { return Options{RequiredLabels: []string{"clustername", "environment"}} }

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	f := func(name, path, want string) {
		t.Helper()
		_, err := Load(path, required())
		if _, ok := errors.AsType[Violations](err); !ok {
			t.Errorf("%s: got %v, want Violations", name, err)
			return
		}
		if got := strings.ReplaceAll(err.Error(), dir, ""); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	f("missing", filepath.Join(dir, "none.yaml"), "/none.yaml: the file does not exist; create it, or correct the path")
	f("other spelling", filepath.Join(filepath.Dir(write(t, filepath.Join(dir, "there.yml"), "")), "there.yaml"), "/there.yaml: the file does not exist; did you mean \"there.yml\"?")
	f("directory", dir, ": it is a directory, not a file; name a file in it")
	f("below a file", filepath.Join(write(t, filepath.Join(dir, "file"), ""), "x"), "/file/x: reading the file: not a directory; make it readable")
	f("empty", write(t, filepath.Join(dir, "empty.yaml"), ""), "/empty.yaml: the file is empty; write a config into it; an agent cannot run without remote_write and external labels")
	f("null", write(t, filepath.Join(dir, "null.yaml"), "--- ~\n"), "/null.yaml: the file is empty; write a config into it; an agent cannot run without remote_write and external labels")
	f("NUL", write(t, filepath.Join(dir, "nul.yaml"), "a: b\nc: \x00\n"), "/nul.yaml:2: the file holds a NUL byte, so it is no text; save it as UTF-8 text")
	f("latin1", write(t, filepath.Join(dir, "latin1.yaml"), "a: b\n\nc: \xe4\n"), "/latin1.yaml:3: the file is not valid UTF-8; save it as UTF-8 text")
	f("endless", "/dev/zero", "/dev/zero: it is a pipe or a device, not a file; write the config into a file")
	if os.Getuid() != 0 {
		secret := write(t, filepath.Join(dir, "secret.yaml"), goodText)
		if err := os.Chmod(secret, 0); err != nil {
			t.Fatal(err)
		}
		_, err := Load(secret, required())
		if err == nil || !strings.Contains(err.Error(), "reading the file is not permitted") {
			t.Errorf("got %v", err)
		}
	}
}

// TestLargeFile checks that a file over the limit is not read into memory.
func TestLargeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(50<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Load(path, required())
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "the file has 50.0 MiB, the limit is 16 MiB") {
		t.Errorf("got %v", err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// TestSourceIsComplete keeps a source as JSON, removes the files and parses what was kept.
func TestSourceIsComplete(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "c.yaml"), goodText+"scrape_config_files: [sub/*.yaml, sub/a*]\n")
	write(t, filepath.Join(dir, "sub", "b.yaml"), "scrape_configs: [{job_name: b}]\n")
	write(t, filepath.Join(dir, "sub", "a.yaml"), "scrape_configs: [{job_name: a, scrape_failure_log_file: log}]\n")
	src, err := ReadSource(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(src, required())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var back Source
	if err := json.Unmarshal(kept, &back); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(&back, required())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Error(diff)
	}
	if got.Hash() != want.Hash() || back.Hash() != src.Hash() {
		t.Error("the hashes differ")
	}
	jobs, err := got.Prometheus.GetScrapeConfigs()
	if err != nil || len(jobs) != 2 || jobs[0].JobName != "a" || jobs[0].ScrapeFailureLogFile != filepath.Join(dir, "sub", "log") {
		t.Errorf("got jobs %v, %v", jobs, err)
	}
}

func TestSourceHash(t *testing.T) {
	base := Source{Main: File{"/a", "x"}, Files: []File{{"/b", "y"}}}
	for name, other := range map[string]Source{
		"content":  {Main: File{"/a", "z"}, Files: []File{{"/b", "y"}}},
		"path":     {Main: File{"/a", "x"}, Files: []File{{"/c", "y"}}},
		"boundary": {Main: File{"/ax", ""}, Files: []File{{"/b", "y"}}},
		"fewer":    {Main: File{"/a", "x"}},
	} {
		if base.Hash() == other.Hash() {
			t.Errorf("%s: the hash is the same", name)
		}
	}
	if len(base.Hash()) != 64 {
		t.Errorf("got %q", base.Hash())
	}
}
