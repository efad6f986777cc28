// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed is a bundle of one file.
func packed(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	bundle := tar.NewWriter(zip)
	if err := bundle.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "torchbearer-a/" + name, Size: int64(len(content)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := bundle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// answering is the address of an agent that answers with a bundle under a name.
func answering(t *testing.T, bundle []byte, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		_, _ = w.Write(bundle)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestSupportToTheStandardOutput(t *testing.T) {
	bundle := packed(t, "errors.txt", "metrics.txt: no answer\n")
	url := answering(t, bundle, "torchbearer-a.tar.gz")
	for _, args := range []string{"support --url " + url + " -o -", "support --url=" + url + " --output=-"} {
		code, stdout, stderr := program(strings.Fields(args)...)
		if code != exitClean || stdout != string(bundle) || stderr != "torchbearer: missing in the bundle:\nmetrics.txt: no answer\n" {
			t.Errorf("%s: %d, %d bytes of %d, %q", args, code, len(stdout), len(bundle), stderr)
		}
	}
}

func TestSupportTakesNoHarmfulName(t *testing.T) {
	bundle := packed(t, "README.txt", "hello\n")
	for given, want := range map[string]string{
		"torchbearer-aks-1-n1-20260101T000000Z.tar.gz": "torchbearer-aks-1-n1-20260101T000000Z.tar.gz",
		"../../torchbearer-a.tar.gz":                   "torchbearer-a.tar.gz",
		"torchbearer-a b;c.tar.gz":                     "torchbearer-support.tar.gz",
		"/etc/passwd":                                  "torchbearer-support.tar.gz",
		".bashrc":                                      "torchbearer-support.tar.gz",
		"":                                             "torchbearer-support.tar.gz",
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		code, stdout, stderr := program("support", "--url="+answering(t, bundle, given))
		if code != exitClean || !strings.HasPrefix(stdout, want+": 1 files") || stderr != "" {
			t.Errorf("%q: %d %q %q", given, code, stdout, stderr)
		}
		got, err := os.ReadFile(filepath.Join(dir, want))
		if err != nil || !bytes.Equal(got, bundle) {
			t.Errorf("%q: %d bytes, %v", given, len(got), err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%q: the directory has %v, %v", given, entries, err)
		}
	}
}

func TestACutBundleIsNone(t *testing.T) {
	bundle := packed(t, "README.txt", "hello\n")
	for cut := range bundle {
		dir := t.TempDir()
		t.Chdir(dir)
		code, _, stderr := program("support", "--url="+answering(t, bundle[:cut], "torchbearer-a.tar.gz"))
		entries, err := os.ReadDir(dir)
		if code != exitFailure || !strings.Contains(stderr, "the bundle did not come whole") || err != nil || len(entries) != 0 {
			t.Fatalf("%d of %d bytes: %d %q, the directory has %v, %v", cut, len(bundle), code, stderr, entries, err)
		}
	}
}

func TestSupportSaysWhatIsWrongWithItsConfig(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("basic_auth: {user: me}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, filepath.Join(dir, "none.yaml")} {
		code, _, stderr := program("support", "--http.config.file="+file)
		if code != exitFailure || !strings.Contains(stderr, "--http.config.file "+file) {
			t.Errorf("%s: %d %q", file, code, stderr)
		}
	}
}
