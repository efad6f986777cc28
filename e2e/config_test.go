// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"time"
)

// The values that every sample has to leave with.
const (
	cluster     = "aks-test"
	environment = "prod"
)

// global is the head of a config file.
func global(interval time.Duration, extra ...string) string {
	return fmt.Sprintf("global:\n  scrape_interval: %s\n  scrape_timeout: %s\n%s"+
		"  external_labels:\n    clustername: %s\n    environment: %s\n",
		prometheusDuration(interval), prometheusDuration(interval), indent(2, extra), cluster, environment)
}

// prometheusDuration avoids the "1m0s" of Go.
func prometheusDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// remoteWrite is a destination that is sent to quickly; extra are further lines of it.
func remoteWrite(url string, extra ...string) string {
	return fmt.Sprintf("remote_write:\n- url: %s\n%s", url, indent(2, extra))
}

// The messages of remote write, and a queue that sends soon, as lines of remoteWrite.
const (
	messageV1 = "protobuf_message: prometheus.WriteRequest"
	messageV2 = "protobuf_message: io.prometheus.write.v2.Request"
	soon      = "queue_config: {batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 200ms}"
)

// jobs is the section of all scrape jobs.
func jobs(each ...string) string { return "scrape_configs:\n" + strings.Join(each, "") }

// job scrapes these targets; extra are further lines of it.
func job(name string, targets []string, extra ...string) string {
	return fmt.Sprintf("- job_name: %s\n  static_configs:\n  - targets: [%s]\n%s", name, strings.Join(targets, ", "), indent(2, extra))
}

func indent(n int, texts []string) string {
	var b strings.Builder
	for _, text := range texts {
		for line := range strings.Lines(text) {
			b.WriteString(strings.Repeat(" ", n) + strings.TrimRight(line, "\n") + "\n")
		}
	}
	return b.String()
}
