// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/units"

	"torchbearer/agent/rehearsal"
)

// TestCheckOfHostileTargets: whatever targets and receivers say, a report is
// bounded, is text, and steers no terminal.
func TestCheckOfHostileTargets(t *testing.T) {
	long := strings.Repeat("L", 100_000)
	answers := map[string]func(http.ResponseWriter){
		"/long": func(w http.ResponseWriter) {
			fmt.Fprintf(w, "app{path=%q} 1\napp{environment=%q} 1\n%s 1\n", long, long, long)
		},
		"/script": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "app{path=\"<script>alert(1)</script>\",environment=\"\x1b[2J\u202e<b>\"} 1\napp{path=\"\u009b31m\"} 1\n")
		},
		"/utf8":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "app{path=\"\xff\xfe\"} 1\n") },
		"/error": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"/endless": func(w http.ResponseWriter) {
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "app{path=\"%d\"} 1\n", i); err != nil {
					return
				}
			}
		},
		"/many": func(w http.ResponseWriter) {
			for i := range 20_000 {
				fmt.Fprintf(w, "app{n=\"%d\",environment=\"%d\",path=\"%d\"} 1\n", i, i, i)
			}
		},
		"/write": func(w http.ResponseWriter) {
			http.Error(w, "\x1b]0;owned\x07<script>"+strings.Repeat("W", 100_000), http.StatusForbidden)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		answers[r.URL.Path](w)
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 1m, scrape_timeout: 10s, external_labels: {clustername: c, environment: e}}\nremote_write: [{name: w, url: %q}]\nscrape_configs:\n", server.URL+"/write")
	for path := range answers {
		if path != "/write" {
			// All of them once more as another job, and each job's targets twice: everything collides.
			fmt.Fprintf(&config, "- {job_name: %q, metrics_path: %s, static_configs: [{targets: [%q], labels: {job: same, instance: same}}], metric_relabel_configs: [{regex: path, action: labeldrop}, {source_labels: [n], regex: \"1.*\", action: drop}]}\n", path, path, address)
			fmt.Fprintf(&config, "- {job_name: %q, metrics_path: %s, static_configs: [{targets: [%q], labels: {job: same, instance: same}}]}\n", path+" again", path, address)
		}
	}
	// Dropped targets by the thousand, with long names of their own.
	config.WriteString("- job_name: dropped\n  static_configs:\n  - targets:\n")
	for i := range 5000 {
		fmt.Fprintf(&config, "    - '%s-%d:1'\n", strings.Repeat("t", 100), i)
	}
	config.WriteString("  relabel_configs: [{source_labels: [__address__], regex: t.*, action: drop}]\n")
	opts := options(t, t.TempDir())
	opts.Scraper.BodySizeLimit = 2 * units.MiB
	write(t, opts.ConfigFile, config.String())
	report, err := CheckAlone(t.Context(), opts, false, "")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := rehearsal.Text(&text, &report); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"text": text.Bytes(), "JSON": encoded} {
		if len(got) > 200_000 || !utf8.Valid(got) {
			t.Errorf("the %s has %d bytes; valid: %v", name, len(got), utf8.Valid(got))
		}
		if at := bytes.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
			t.Errorf("the %s has a character that steers at %d: %q", name, at, got[max(0, at-40):min(len(got), at+40)])
		}
	}
	if bytes.Contains(encoded, []byte("<script>")) {
		t.Error("the JSON has a tag that a browser would take for one")
	}
	for _, part := range []string{"body size limit exceeded", "418", "dropped", "auth refused", "duplicate job output"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("nothing is said of %q", part)
		}
	}
	dropped := report.Jobs[len(report.Jobs)-1]
	if dropped.Targets.Dropped != 5000 || dropped.Rules[0].Dropped != 5000 {
		t.Errorf("dropped targets are told as %+v", dropped)
	}
}
