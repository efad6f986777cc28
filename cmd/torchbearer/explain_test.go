// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"torchbearer/agent/status"
)

// fakeAgent answers like an agent that lets in only its user.
func fakeAgent(t *testing.T) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(path string, data any) {
		mux.HandleFunc("/prefix"+path, func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "mine" {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			if r.URL.Query().Get("name") == "bad" {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprint(w, `{"status":"error","error":"that is no name"}`)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
		})
	}
	answer("/api/v1/explain/target", status.TargetExplanation{
		Verdict: "job a: dropped by rule 1\x1b[31m", Total: 1,
		Matches: []status.TargetMatch{{
			Job: "a", State: status.TargetDropped, Verdict: "dropped by rule 1", Before: map[string]string{"__address__": "h:1", "x": "a\n\x1b"},
			Steps: []status.RelabelStep{{Rule: 1, Text: "{action: drop}", Dropped: true}},
		}},
		Jobs: []status.JobView{{Job: "a", Scope: "node", Scraped: true, Found: 3, Sees: 1, Verdict: "drops it"}},
	})
	answer("/api/v1/explain/metric", status.MetricExplanation{
		Verdict: "exposed by 1 job", Jobs: []status.MetricJob{{Job: "a", Samples: 3, Verdict: "all are dropped", Rules: []status.MetricRule{
			{Rule: 1, Text: "{action: drop}", Dropped: 7, Exact: true, Metric: 3}, {Rule: 2, Text: "{action: keep}", Dropped: 5}, {Rule: 3, Text: "{}", Unknown: true},
		}}},
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/prefix/"
}

func TestExplain(t *testing.T) {
	url := fakeAgent(t)
	client := filepath.Join(t.TempDir(), "client.yml")
	if err := os.WriteFile(client, []byte("basic_auth: {username: me, password: mine}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args string
		code int
		want []string
	}{
		{"target h:1 --http.config.file=" + client, exitClean, []string{
			"job a: dropped by rule 1\uFFFD[31m\n", "h:1  (job a)", "rule 1  {action: drop}  DROPPED", `x            "a\n\x1b"`,
			"JOB  SCOPE  HERE  FOUND  MEANT  DROPPED  VERDICT", "a    node   yes   3      1      0        drops it",
		}},
		{"target h:1 --output=json --http.config.file=" + client, exitClean, []string{`"verdict": "job a: dropped by rule 1\u001b[31m"`}},
		{"metric up --job=a --http.config.file=" + client, exitClean, []string{"job a: all are dropped", "1     7 ", "2     about 5", "3     not known"}},
		{"metric bad --http.config.file=" + client, exitFailure, []string{"answered 400 Bad Request: that is no name"}},
		{"target h:1", exitFailure, []string{"give user and password by --http.config.file"}},
		{"target h:1 --http.config.file=/none", exitFailure, []string{"read --http.config.file /none"}},
		{"target h:1 --url=nowhere", exitFailure, []string{"--url nowhere: write http://"}},
		{"target h:1 --url=" + url + "none", exitFailure, []string{"404 page not found; is this a torchbearer?"}},
		{"target", exitUsage, []string{"required argument 'target' not provided"}},
		{"metric", exitUsage, []string{"required argument 'name' not provided"}},
		{"target x --output=xml", exitUsage, []string{"--output must be one of text, json"}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			args := append([]string{"explain"}, strings.Fields(tc.args)...)
			if !strings.Contains(tc.args, "--url") && tc.code != exitUsage {
				args = append(args, "--url="+url)
			}
			code, stdout, stderr := program(args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("got %s%s, want %q", stdout, stderr, want)
				}
			}
			if strings.Contains(stdout, "\x1b") {
				t.Errorf("it steers the terminal: %q", stdout)
			}
		})
	}
}
