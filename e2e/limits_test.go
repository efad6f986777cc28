// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLimits: a target over a limit is down, says which limit, and nobody else is disturbed.
func TestLimits(t *testing.T) {
	t.Parallel()
	app := startTarget(t, exposes(plain, "app{name=\"a_long_value_of_a_label\",a_long_name_of_a_label=\"1\"} 1\napp 2\napp_2 3\n"))
	native := startTarget(t, spoof())
	cases := []struct{ name, target, limit, reason string }{
		{"samples", app, "sample_limit: 2", "sample limit exceeded"},
		{"body", app, "body_size_limit: 20B", "body size limit exceeded"},
		{"labels", app, "label_limit: 3", "label_limit exceeded"},
		{"label-names", app, "label_name_length_limit: 12", "label_name_length_limit exceeded"},
		{"label-values", app, "label_value_length_limit: 22", "label_value_length_limit exceeded"},
		{"targets", app, "target_limit: 1\nstatic_configs:\n- targets: ['127.0.0.1:1', '" + app + "']", "target_limit exceeded"},
		{"buckets", native, "scrape_native_histograms: true\nnative_histogram_bucket_limit: 1", "histogram bucket limit exceeded"},
	}

	dest := startReceiver(t)
	all := []string{job("innocent", []string{app})}
	for _, c := range cases {
		if strings.HasPrefix(c.limit, "target_limit") {
			all = append(all, fmt.Sprintf("- job_name: %s\n%s", c.name, indent(2, []string{c.limit})))
			continue
		}
		all = append(all, job(c.name, []string{c.target}, c.limit))
	}
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(all...))

	for _, c := range cases {
		a.wantDown(t, c.name, c.reason)
		if found := dest.Match("__name__", "app", "job", c.name); len(found) != 0 {
			t.Errorf("job %s is over its limit and samples came: %v", c.name, labelsOf(found))
		}
	}
	wantUp(t, a, dest, "innocent")
	for _, s := range wantArrives(t, a, dest, "__name__", "up", "job", "samples") {
		if values := s.Values(); len(values) == 0 || values[0] != 0 {
			t.Errorf("up of a target over its limit is %v, want 0", values)
		}
	}
}

// TestDroppedTargets: relabelling drops three, one is shown and all are counted.
func TestDroppedTargets(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL())+jobs(
		job("dropped", []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
			"keep_dropped_targets: 1", "relabel_configs:\n- {action: drop, source_labels: [__address__], regex: 127.*}"),
	))
	a.until(t, 60*time.Second, "the dropped targets are told", func(ctx context.Context) error {
		all, err := a.targets(ctx)
		if err == nil && (len(all.Dropped) != 1 || all.DroppedCounts["dropped"] != 3) {
			err = fmt.Errorf("%d are shown and %v counted, want 1 and 3", len(all.Dropped), all.DroppedCounts)
		}
		return err
	})
}

// TestScrapeFailureLog: the file has a line of JSON for each failure.
func TestScrapeFailureLog(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	path := filepath.Join(t.TempDir(), "failures.log")
	a := startAgent(t, global(time.Second)+remoteWrite(dest.URL())+jobs(
		job("closed", []string{"127.0.0.1:1"}, "scrape_failure_log_file: "+path),
	))
	a.until(t, 60*time.Second, "the failure is logged", func(context.Context) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		line, _, complete := strings.Cut(string(text), "\n")
		if !complete {
			return fmt.Errorf("the file has no whole line: %q", text)
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			return err
		}
		if told := fmt.Sprint(entry); !strings.Contains(told, "connection refused") || entry["job_name"] != "closed" {
			return fmt.Errorf("the line tells neither the cause nor the job: %s", line)
		}
		return nil
	})
}
