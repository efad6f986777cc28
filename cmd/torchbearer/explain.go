// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"torchbearer/agent/explain"
	"torchbearer/agent/status"
)

const (
	explainTargetCommand = "explain target"
	explainMetricCommand = "explain metric"
)

// explainPatience is longer than an agent takes to ask its targets.
const explainPatience = time.Minute

// explainFlags are the command's flags.
type explainFlags struct {
	client client
	output string
	target string
	metric string
	job    string
}

func (f *explainFlags) register(app *kingpin.Application) {
	cmd := app.Command("explain", "Ask a running agent why.")
	target := cmd.Command("target", "Which jobs see it, what each relabelling rule did, which one dropped it, or which agent has it.")
	target.Arg("target", "Name of a job; URL or host:port of a target, or its label instance; name of a pod, or namespace/pod.").Required().StringVar(&f.target)
	metric := cmd.Command("metric", "Which jobs have it, and what metric_relabel_configs and write_relabel_configs drop. To tell it, the agent scrapes some targets once more.")
	metric.Arg("name", "Name of the metric.").Required().StringVar(&f.metric)
	metric.Flag("job", "This job only: more of its targets are asked then.").PlaceHolder("<name>").StringVar(&f.job)
	for _, cmd := range []*kingpin.CmdClause{target, metric} {
		f.client.flags(cmd)
		cmd.Flag("output", "text or json.").Default("text").SetValue(&choice{&f.output, "--output", []string{"text", "json"}})
	}
}

// run asks the agent and writes what it answers.
func (f *explainFlags) run(command string, stdout, stderr io.Writer) int {
	if err := f.ask(command, stdout); err != nil {
		fmt.Fprintln(stderr, "torchbearer:", err)
		return exitFailure
	}
	return exitClean
}

func (f *explainFlags) ask(command string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), explainPatience)
	defer cancel()
	path, query := "api/v1/explain/target", url.Values{"q": {f.target}}
	if command == explainMetricCommand {
		path, query = "api/v1/explain/metric", url.Values{"name": {f.metric}, "job": {f.job}}
	}
	data, err := f.client.data(ctx, path, query)
	switch {
	case err != nil:
		return err
	case f.output == "json":
		return writeIndented(stdout, data)
	case command == explainMetricCommand:
		return write(data, stdout, explain.WriteMetric, &status.MetricExplanation{})
	default:
		return write(data, stdout, explain.WriteTarget, &status.TargetExplanation{})
	}
}

func writeIndented(to io.Writer, data json.RawMessage) error {
	text, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return fmt.Errorf("write the agent's answer: %w", err)
	}
	_, err = fmt.Fprintf(to, "%s\n", text)
	return err
}

func write[T any](data json.RawMessage, to io.Writer, text func(io.Writer, T) error, told *T) error {
	if err := json.Unmarshal(data, told); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return text(to, *told)
}
