// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"torchbearer/agent"
	"torchbearer/agent/rehearsal"
	"torchbearer/agent/status"
)

// live is the command that checks a config where it is to run.
type live struct {
	timeout     model.Duration
	output      string
	strict      bool
	clusterJobs bool
	runningURL  string
}

func (l *live) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("timeout", "How long it may take. What is not known by then is said to be so.").
		Default("30s").SetValue(&named{"--timeout", &l.timeout})
	cmd.Flag("output", "text, for people, or json.").
		Default("text").SetValue(&choice{&l.output, "--output", []string{"text", "json"}})
	cmd.Flag("strict", "Exit with 1 when there are warnings, such as a target that is down or a destination that refuses.").BoolVar(&l.strict)
	cmd.Flag("scrape-cluster-jobs", "Also discover and scrape, once, the cluster-scoped jobs that the holder of the lease scrapes. The lease is never taken.").BoolVar(&l.clusterJobs)
	cmd.Flag("running-url", "URL of a running agent to compare with.").PlaceHolder("<URL>").StringVar(&l.runningURL)
}

func (l *live) run(f *flags, stdout, stderr io.Writer) int {
	if l.timeout <= 0 {
		fmt.Fprintln(stderr, "torchbearer: --timeout must be greater than 0")
		return exitUsage
	}
	logging, err := newLogging(stderr, "warn", f.logFormat)
	if err != nil {
		fmt.Fprintln(stderr, "torchbearer:", err)
		return exitUsage
	}
	logging.takeOverKlog()
	stop, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx, cancel := context.WithTimeout(stop, time.Duration(l.timeout))
	defer cancel()
	report, err := agent.CheckAlone(ctx, f.agentOptions(logging, prometheus.NewRegistry()), l.clusterJobs, l.runningURL)
	if err == nil {
		err = l.write(stdout, &report)
	}
	if err != nil {
		fmt.Fprintln(stderr, "torchbearer: check live:", err)
		return exitUsage
	}
	switch {
	case report.Verdict == status.VerdictBad:
		return exitUsage
	case report.Verdict == status.VerdictWarnings && l.strict:
		return exitFailure
	}
	return exitClean
}

func (l *live) write(out io.Writer, report *status.Report) error {
	if l.output == "text" {
		return rehearsal.Text(out, report)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}
