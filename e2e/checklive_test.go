// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// A liveReport is what check live says as JSON, as far as it is looked at here.
type liveReport struct {
	Verdict    string   `json:"verdict"`
	Violations []string `json:"violations"`
	Findings   []struct {
		Level string `json:"level"`
		Kind  string `json:"kind"`
		Job   string `json:"job"`
	} `json:"findings"`
	Jobs []struct {
		Job     string `json:"job"`
		Targets struct {
			Kept int `json:"kept"`
			Up   int `json:"up"`
		} `json:"targets"`
		Samples struct {
			Dropped int `json:"dropped"`
			Kept    int `json:"kept"`
		} `json:"samples"`
		Series int `json:"series"`
	} `json:"jobs"`
	Series struct {
		Total int `json:"total"`
	} `json:"series"`
	Destinations []struct {
		Name    string `json:"name"`
		Verdict string `json:"verdict"`
		Status  int    `json:"status"`
	} `json:"destinations"`
	Changes *struct {
		Same bool `json:"same"`
		Jobs []struct {
			Name   string `json:"name"`
			Change string `json:"change"`
		} `json:"jobs"`
	} `json:"changes"`
}

func parseReport(t *testing.T, text string) liveReport {
	t.Helper()
	var r liveReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("the report is no JSON: %v\n%s", err, text)
	}
	return r
}

// checkLive checks a config and wants it to end with the code.
func checkLive(t *testing.T, want int, config string, flags ...string) string {
	t.Helper()
	code, output := runToEnd(t, append([]string{"check", "live", "--config.file=" + config}, flags...)...)
	if code != want {
		t.Errorf("check live %s ended with %d, want %d:\n%s", strings.Join(flags, " "), code, want, output)
	}
	return output
}

// guarded is a counting receiver that asks for a password.
func guarded(t *testing.T, password string) (dest *receiver.Receiver, url string) {
	t.Helper()
	dest = receiver.New()
	address := startTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, _ := r.BasicAuth(); user != "me" || given != password {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		dest.ServeHTTP(w, r)
	}))
	return dest, "http://" + address + "/api/v1/write"
}

// TestCheckLive: the report of the built program, against a real Prometheus and a receiver with a password, says what an
// agent then does, and has sent nothing.
func TestCheckLive(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	central := startCentral(t)
	dest, guardedURL := guarded(t, password)
	fleet := startFleet(t, load.Options{Targets: 20, Series: 50})
	dir := t.TempDir()
	config, secret := filepath.Join(dir, "torchbearer.yaml"), filepath.Join(dir, "password")
	drops := "metric_relabel_configs: [{source_labels: [series], regex: '[0-9]', action: drop}]"
	text := global(10*time.Second) +
		remoteWrite(central+"/api/v1/write", "name: central", soon) +
		remoteWrite(guardedURL, "name: guarded", messageV2, soon, "basic_auth: {username: me, password_file: "+secret+"}")[len("remote_write:\n"):] +
		jobs(job("load", fleet.Addresses()[:10]), job("fewer", fleet.Addresses()[10:], drops))
	writeFile(t, config, text)
	writeFile(t, secret, password)

	r := parseReport(t, checkLive(t, 0, config, "--output=json", "--strict"))
	if r.Verdict != "good" || len(r.Jobs) != 2 || r.Jobs[0].Targets.Up != 10 || r.Jobs[1].Targets.Up != 10 || r.Changes != nil {
		t.Errorf("the report says %+v", r)
	}
	// Ten series less of each target, five of the agent's own more.
	if r.Jobs[0].Series != 10*55 || r.Jobs[1].Series != 10*45 || r.Jobs[1].Samples.Dropped != 100 || r.Series.Total != 1000 {
		t.Errorf("series are told as %+v, %+v", r.Jobs, r.Series)
	}
	for _, d := range r.Destinations {
		if d.Verdict != "ok" || d.Status/100 != 2 {
			t.Errorf("destination %+v", d)
		}
	}
	if dest.Total() != 0 || dest.Requests() != 1 {
		t.Errorf("the receiver got %d samples in %d requests, want an empty one", dest.Total(), dest.Requests())
	}

	writeFile(t, secret, "wrong password")
	for _, flags := range [][]string{{}, {"--strict"}, {"--output=json"}} {
		code := 0
		if len(flags) > 0 && flags[0] == "--strict" {
			code = 1
		}
		output := checkLive(t, code, config, flags...)
		if !strings.Contains(output, "auth refused") || !strings.Contains(output, "who are you") || strings.Contains(output, "wrong password") {
			t.Errorf("a wrong password is told as:\n%s", output)
		}
	}
	writeFile(t, secret, password)

	a := startAgent(t, text)
	a.until(t, 120*time.Second, "the agent does what the report says", func(ctx context.Context) error {
		for _, j := range r.Jobs {
			samples, err := process.Query(ctx, central, fmt.Sprintf("count({job=%q,__name__!~'torchbearer_.*'})", j.Job))
			if err != nil {
				return err
			}
			if len(samples) != 1 || int(samples[0].Float()) != j.Series {
				return fmt.Errorf("job %s has %v series at the central, the report said %d", j.Job, samples, j.Series)
			}
		}
		return nil
	})
	compareWithRunning(t, a, text, config, fleet)
}

// compareWithRunning checks configs against the agent that runs text.
func compareWithRunning(t *testing.T, a *agent, text, config string, fleet *load.Fleet) {
	t.Helper()
	same := parseReport(t, checkLive(t, 0, config, "--output=json", "--running-url="+a.url))
	if same.Changes == nil || !same.Changes.Same {
		t.Errorf("the same config differs: %+v", same.Changes)
	}
	writeFile(t, config, text+job("more", fleet.Addresses()[:1], "metrics_path: /metrics"))
	more := parseReport(t, checkLive(t, 0, config, "--output=json", "--running-url="+a.url))
	if more.Changes == nil || more.Changes.Same || len(more.Changes.Jobs) != 1 || more.Changes.Jobs[0].Name != "more" || more.Changes.Jobs[0].Change != "added" {
		t.Errorf("one more job is told as %+v", more.Changes)
	}
	output := checkLive(t, 0, config, "--running-url="+a.url)
	if !strings.Contains(output, "job more: added") {
		t.Errorf("the text does not tell the change:\n%s", output)
	}
}

// TestCheckLiveRefuses: bad flags and bad configs end with 2, and say all that is wrong.
func TestCheckLiveRefuses(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "torchbearer.yaml")
	writeFile(t, config, broken(startReceiver(t)))
	for _, output := range []string{checkLive(t, 2, config), checkLive(t, 2, config, "--output=json")} {
		for _, part := range []string{"clustername", "rule_files", "job name"} {
			if !strings.Contains(output, part) {
				t.Errorf("the answer does not tell %q:\n%s", part, output)
			}
		}
	}
	if r := parseReport(t, checkLive(t, 2, config, "--output=json")); r.Verdict != "bad" || len(r.Violations) != 3 {
		t.Errorf("a bad config is told as %+v", r)
	}
	writeFile(t, config, global(time.Second)+remoteWrite("http://127.0.0.1:1/write")+jobs(job("dead", []string{"127.0.0.1:1"})))
	checkLive(t, 2, config, "--output=xml")
	checkLive(t, 2, config, "--timeout=0s")
	checkLive(t, 2, config, "--running-url=http://127.0.0.1:1")
	checkLive(t, 2, config+".none")
	checkLive(t, 0, config)
	checkLive(t, 1, config, "--strict")
}

// TestDryRunUnderLoad: dry runs beside an agent at work lose nothing, send nothing twice, and log nothing.
func TestDryRunUnderLoad(t *testing.T) {
	t.Parallel()
	// A slow machine must not make a scrape late that was answered.
	const runs, interval = 3, 5 * time.Second
	r := &reloading{t: t, options: load.Options{Targets: 60, Series: 100}, dest: startReceiver(t)}
	r.fleet = startFleet(t, r.options)
	r.head = global(interval) + remoteWrite(r.dest.URL(), messageV2, soon)
	r.agent = startAgent(t, r.without(), "--no-config.auto-reload")
	r.scraped(1)
	// The file is not what runs.
	writeFile(t, r.config, r.head+jobs(job("load", r.fleet.Addresses(), "scrape_interval: 20s", "scrape_timeout: 20s")))
	reloaded := func() float64 {
		at, err := r.metric(t.Context(), "torchbearer_config_last_reload_success_timestamp_seconds")
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := reloaded()
	for range runs {
		code, body, err := process.Post(t.Context(), r.url+"/-/reload?dry_run=true&output=json&timeout=2m")
		if err != nil || code != http.StatusOK {
			t.Fatalf("a dry run answers %d, %v: %s", code, err, body)
		}
		got := parseReport(t, body)
		if len(got.Jobs) != 1 || got.Jobs[0].Targets.Up != r.options.Targets || got.Changes == nil || got.Changes.Same || len(got.Changes.Jobs) != 1 {
			t.Errorf("the dry run says %+v", got)
		}
		r.scraped(1)
	}
	writeFile(t, r.config, broken(r.dest))
	if code, body, err := process.Post(t.Context(), r.url+"/-/reload?dry_run=true"); err != nil || code != http.StatusBadRequest || !strings.Contains(body, "rule_files") {
		t.Errorf("a dry run of a bad config answers %d, %v: %s", code, err, body)
	}
	r.wantMetric(t, success, 1)
	if after := reloaded(); after != before {
		t.Errorf("the last reload was at %v, then at %v", before, after)
	}
	pause(t, r.agent, r.fleet, interval)
	stop(t, r.agent)
	if r.dest.Duplicates() != 0 || r.dest.Disorder() != 0 {
		t.Errorf("%d samples came twice, %d out of order", r.dest.Duplicates(), r.dest.Disorder())
	}
	wanted := 0
	for i := range r.options.Targets {
		wanted += r.fleet.Answered(i) - runs // The answers to dry runs are in no log.
	}
	arrived := 0
	for _, s := range r.dest.Match("__name__", load.Metric, "series", "0") {
		for _, p := range s.Points {
			if !p.Stale() {
				arrived++
			}
		}
	}
	if arrived != wanted {
		t.Errorf("%d scrapes arrived, %d were answered and not for a dry run", arrived, wanted)
	}
}
