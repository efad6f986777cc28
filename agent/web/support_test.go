// SPDX-License-Identifier: Apache-2.0

package web

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"torchbearer/agent/status"
)

// unpack returns the folder and the files of a bundle.
func unpack(tb testing.TB, from io.Reader) (folder string, files map[string]string) {
	tb.Helper()
	packed, err := gzip.NewReader(from)
	if err != nil {
		tb.Fatal(err)
	}
	files = map[string]string{}
	bundle := tar.NewReader(packed)
	for {
		header, err := bundle.Next()
		if errors.Is(err, io.EOF) {
			return folder, files
		}
		if err != nil {
			tb.Fatal(err)
		}
		content, err := io.ReadAll(bundle)
		if err != nil {
			tb.Fatal(err)
		}
		folder = path.Dir(header.Name)
		if _, twice := files[path.Base(header.Name)]; twice {
			tb.Errorf("%s is there twice", header.Name)
		}
		files[path.Base(header.Name)] = string(content)
	}
}

// bundleFor asks as a client at the address.
func bundleFor(tb testing.TB, s *Server, remote string) map[string]string {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, "/api/v1/support", http.NoBody)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		tb.Fatalf("%d %s", w.Code, w.Body)
	}
	_, files := unpack(tb, w.Body)
	return files
}

func TestBundleHasTheConfigOnDiskWhereItDiffers(t *testing.T) {
	for _, same := range []bool{true, false} {
		opts := newOptions(t)
		opts.ConfigOnDisk = func() (string, bool) { return "runtime: {}\n", same }
		opts.About = func() status.About { return status.About{Host: "host-7"} }
		files := bundleFor(t, newTestServer(t, opts), "10.0.0.7:1")
		if got := files["config-on-disk.yaml"] == "runtime: {}\n"; got == same {
			t.Errorf("the same %v: got %q", same, files["config-on-disk.yaml"])
		}
		if !strings.Contains(files["about.json"], `"host":"host-7"`) {
			t.Errorf("about.json: %q", files["about.json"])
		}
	}
}

// writes is a file of a bundle.
func writes(name string, write func(context.Context, io.Writer) error) SupportFile {
	return SupportFile{Name: name, About: "a test's", Write: write}
}

func TestBundleHasWhatTheAgentTells(t *testing.T) {
	opts := newOptions(t)
	opts.Cluster = func() string { return "../aks 1/prod\n" }
	opts.SupportFiles = []SupportFile{writes("host.txt", func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, "get https://me:hunter2@central/")
		return err
	})}
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "test_queue", Help: "A test's."}, []string{"url"})
	gauge.WithLabelValues("https://central/write?token=hunter2").Set(7)
	opts.Registry.MustRegister(gauge)
	s := newTestServer(t, opts)
	resp := ask(s.Handler(), http.MethodGet, "/api/v1/support")
	defer resp.Body.Close()
	folder, files := unpack(t, resp.Body)
	if !strings.HasPrefix(folder, "torchbearer--aks-1-prod--n1-2") {
		t.Errorf("the folder is %q", folder)
	}
	if got, want := resp.Header.Get("Content-Disposition"), `attachment; filename="`+folder+`.tar.gz"`; got != want {
		t.Errorf("Content-Disposition %q, want %q", got, want)
	}
	for name, part := range map[string]string{
		"ready.txt":         "Torchbearer is Ready.",
		"config.yaml":       "global: {}\n",
		"destinations.json": `"name":"central"`,
		"scopes.json":       `"node":"n1"`,
		"log.json":          `"text":"msg=slow"`,
		"flags.json":        `"log.level":"info"`,
		"buildinfo.json":    `"goVersion"`,
		"runtimeinfo.json":  `"GOMAXPROCS"`,
		"dropped.jsonl":     `{"droppedTargetCounts":{"node":2}}`,
		"metrics.txt":       `test_queue{url="https://central/write?token=<secret>"} 7`,
		"host.txt":          "get https://me:<secret>@central/",
		"README.txt":        "metrics.txt              the agent's own metrics\n",
	} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s has no %q: %.300q", name, part, files[name])
		}
	}
	for name, text := range files {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s has a secret: %.300q", name, text)
		}
		if name != "README.txt" && !strings.Contains(files["README.txt"], "\n"+name+" ") {
			t.Errorf("README.txt does not say what %s is", name)
		}
	}
	if errs, found := files["errors.txt"]; found {
		t.Errorf("errors.txt: %s", errs)
	}
}

func TestBundleHasProfilesForThoseWhoMayHaveThem(t *testing.T) {
	for _, tc := range []struct {
		remote string
		open   bool
		want   bool
	}{{"127.0.0.1:1", false, true}, {"10.0.0.7:1", false, false}, {"10.0.0.7:1", true, true}} {
		opts := newOptions(t)
		opts.EnablePprof = tc.open
		files := bundleFor(t, newTestServer(t, opts), tc.remote)
		for name, part := range map[string]string{"goroutines.txt": "goroutine ", "heap.pprof": "\x1f\x8b"} {
			if got := strings.HasPrefix(files[name], part); got != tc.want {
				t.Errorf("%+v: %s is %.100q", tc, name, files[name])
			}
		}
		if told := strings.Contains(files["README.txt"], "Left out are the profiles"); told == tc.want {
			t.Errorf("%+v: README.txt is\n%s", tc, files["README.txt"])
		}
	}
}

func TestWhatFailsOrHangsIsLeftOutOfABundle(t *testing.T) {
	release := make(chan struct{})
	hung := make(chan struct{}, 2)
	opts := newOptions(t)
	opts.Destinations = func() []status.Destination { panic("no ledger") }
	opts.SupportFiles = []SupportFile{
		writes("hangs.txt", func(context.Context, io.Writer) error { hung <- struct{}{}; <-release; return nil }),
		writes("half.txt", func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "the first half")
			return errors.Join(err, errors.New("get https://me:hunter2@central/: disk on fire"))
		}),
	}
	l := defaultLimits(0)
	l.partTime = 200 * time.Millisecond
	s, err := newServer(opts, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	files := bundleFor(t, s, "127.0.0.1:1")
	for _, part := range []string{
		"destinations.json: panic: no ledger\n", "hangs.txt: not had within 200ms", "half.txt: get https://me:<secret>@central/: disk on fire\n",
	} {
		if !strings.Contains(files["errors.txt"], part) {
			t.Errorf("errors.txt has no %q:\n%s", part, files["errors.txt"])
		}
	}
	if files["half.txt"] != "the first half" || files["config.yaml"] == "" {
		t.Errorf("half.txt %q, config.yaml %q", files["half.txt"], files["config.yaml"])
	}

	<-hung
	files = bundleFor(t, s, "127.0.0.1:1")
	if !strings.Contains(files["errors.txt"], "hangs.txt: left out: it hangs since an earlier bundle\n") || len(hung) != 0 {
		t.Errorf("what hangs is asked again %d times:\n%s", len(hung), files["errors.txt"])
	}
	close(release)
	eventually(t, "what hung is asked again", func() bool {
		return !strings.Contains(bundleFor(t, s, "127.0.0.1:1")["errors.txt"], "hangs.txt: left out")
	})
}

func TestBundleIsBounded(t *testing.T) {
	endless := func(_ context.Context, w io.Writer) error {
		_, err := io.CopyN(w, neverEnding('x'), 1<<20)
		return err
	}
	opts := newOptions(t)
	opts.SupportFiles = []SupportFile{writes("a.txt", endless), writes("b.txt", endless), writes("c.txt", endless)}
	l := defaultLimits(0)
	l.bundlePart, l.bundle = 100<<10, 250<<10
	s, err := newServer(opts, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	files := bundleFor(t, s, "10.0.0.7:1")
	total := 0
	for _, text := range files {
		total += len(text)
	}
	if note := "\n[cut after 102400 bytes]\n"; len(files["a.txt"]) != 100<<10+len(note) || !strings.HasSuffix(files["a.txt"], note) {
		t.Errorf("a.txt has %d bytes and ends with %q", len(files["a.txt"]), files["a.txt"][len(files["a.txt"])-40:])
	}
	if total > l.bundle+4<<10 || len(files["c.txt"]) > 60<<10 {
		t.Errorf("the bundle has %d bytes, the last file %d", total, len(files["c.txt"]))
	}

	l.bundleTime = time.Nanosecond
	if s, err = newServer(newOptions(t), l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	if files := bundleFor(t, s, "127.0.0.1:1"); !strings.Contains(files["errors.txt"], "metrics.txt: left out: the bundle took 1ns already") {
		t.Errorf("errors.txt:\n%s", files["errors.txt"])
	}
}

func TestOneBundleAtATime(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	opts := newOptions(t)
	opts.SupportFiles = []SupportFile{writes("slow.txt", func(context.Context, io.Writer) error { close(started); <-release; return nil })}
	r := run(t, opts, nil)
	code := make(chan int, 1)
	go func() {
		resp, err := http.Get(r.base + "/api/v1/support")
		if err != nil {
			code <- 0
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		code <- resp.StatusCode
	}()
	<-started
	resp, err := http.Get(r.base + "/api/v1/support")
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, resp); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "only one at a time") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	close(release)
	if c := <-code; c != http.StatusOK {
		t.Errorf("the first one got %d", c)
	}
}

func TestABundleThatNobodyReadsEnds(t *testing.T) {
	opts := newOptions(t)
	for _, name := range []string{"a.txt", "b.txt", "c.txt", "d.txt"} { // More than the buffers of a connection.
		opts.SupportFiles = append(opts.SupportFiles, writes(name, func(_ context.Context, w io.Writer) error { return noise(w, 7<<20) }))
	}
	r := run(t, opts, func(l *limits) { l.write = 3 * time.Second })
	conn := dial(t, r.address(0))
	_, _ = io.WriteString(conn, "GET /api/v1/support HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the bundle is being made", func() bool { return len(r.bundling) == 1 })
	eventually(t, "the next one can be", func() bool { return len(r.bundling) == 0 })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(conn)
	if strings.HasSuffix(string(rest), "0\r\n\r\n") {
		t.Errorf("a part of a bundle ends as if it were whole: %v", err)
	}
}

// noise writes what cannot be packed.
func noise(w io.Writer, n int) error {
	x := uint32(1)
	b := make([]byte, n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	_, err := w.Write(b)
	return err
}

// What is broken may be what knows who the agent is.
func TestABundleOfAnAgentThatHangsHasAName(t *testing.T) {
	opts := newOptions(t)
	release := make(chan struct{})
	opts.Cluster = func() string { <-release; return "aks" }
	opts.Scopes = func() status.Scopes { panic("no scopes") }
	l := defaultLimits(0)
	l.partTime = 200 * time.Millisecond
	s, err := newServer(opts, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	files := bundleFor(t, s, "127.0.0.1:1")
	close(release)
	if files["config.yaml"] == "" || !strings.Contains(files["errors.txt"], "scopes.json: panic: no scopes") {
		t.Errorf("errors.txt: %s", files["errors.txt"])
	}
}

// Where all hangs, the goroutines say at what.
func TestABundleWithoutTimeHasTheGoroutines(t *testing.T) {
	opts := newOptions(t)
	release := make(chan struct{})
	defer close(release)
	opts.About = func() status.About { <-release; return status.About{} }
	l := defaultLimits(0)
	l.bundleTime, l.partTime = 3*time.Second, time.Hour
	s, err := newServer(opts, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	files := bundleFor(t, s, "127.0.0.1:1")
	if !strings.Contains(files["goroutines.txt"], "goroutine ") || !strings.Contains(files["errors.txt"], "about.json: not had") {
		t.Errorf("errors.txt: %s", files["errors.txt"])
	}
}
