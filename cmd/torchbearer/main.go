// SPDX-License-Identifier: Apache-2.0

// Command torchbearer carries the metrics of one Kubernetes node to a central
// Prometheus. See the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/oklog/run"
	"github.com/prometheus/common/version"

	"torchbearer/agent"
	"torchbearer/agent/web"
)

// What the process exits with.
const (
	exitClean   = 0
	exitFailure = 1 // something went wrong at run time
	exitUsage   = 2 // bad flags or a bad config
)

func main() {
	startRelaxed()
	os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
}

// Main is the program. It returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	f := &flags{}
	command, code := f.parse(args, stdout, stderr)
	switch command {
	case "":
		return code
	case checkCommand:
		return f.check(stdout, stderr)
	case liveCommand:
		return f.live.run(f, stdout, stderr)
	case prepareCommand:
		return f.prepare.run(stderr)
	case explainTargetCommand, explainMetricCommand:
		return f.explain.run(command, stdout, stderr)
	case supportCommand:
		return f.support.run(stdout, stderr)
	}
	logging, err := newLogging(stderr, f.logLevel, f.logFormat)
	if err != nil {
		fmt.Fprintln(stderr, "torchbearer:", err)
		return exitUsage
	}
	err = runAgent(f, logging)
	if bad := (*agent.BadConfigError)(nil); errors.As(err, &bad) {
		return exitUsage // The agent has logged what is wrong, line by line.
	}
	if err != nil {
		level.Error(logging.logger).Log("msg", "torchbearer ends", "err", err)
		return exitFailure
	}
	return exitClean
}

// runAgent wires the agent, its HTTP surface and the signals, and returns when
// they have ended.
func runAgent(f *flags, l *logging) error {
	// Before all else: a signal must not kill an agent that is just starting.
	stop, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	context.AfterFunc(stop, release) // A second one ends it at once.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	level.Info(l.logger).Log("msg", "starting torchbearer", "version", version.Info(), "build", version.BuildContext())
	f.report(l.logger)
	l.takeOverKlog()
	setRuntime(f, l)

	listeners, err := web.Listen(f.listenAddresses, f.maxConnections)
	if err != nil {
		return err
	}
	registry := newRegistry()
	registry.MustRegister(l.tail.lines)
	a, err := agent.New(f.agentOptions(l, registry))
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	server, err := web.New(f.webOptions(l, registry, a, listeners))
	if err != nil {
		return errors.Join(err, a.Close())
	}

	var g run.Group
	agentCtx, stopAgent := context.WithCancel(stop)
	agentDone := make(chan struct{})
	g.Add(func() error {
		defer close(agentDone)
		return a.Run(agentCtx)
	}, func(error) { stopAgent() })

	webCtx, stopWeb := context.WithCancel(context.Background())
	g.Add(func() error { return server.Run(webCtx) }, func(error) {
		// An agent that scrapes itself must not look down because it stops.
		<-agentDone
		stopWeb()
	})
	g.Add(reloadOnHangup(a, hangups, l.logger))
	return g.Run()
}

// reloadOnHangup is an actor that reloads at each signal.
func reloadOnHangup(a *agent.Agent, hangups <-chan os.Signal, logger log.Logger) (execute func() error, interrupt func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	return func() error {
		for {
			select {
			case s := <-hangups:
				level.Info(logger).Log("msg", "reloading", "signal", s)
				_ = a.Reload(ctx) // The agent logs what goes wrong.
			case <-ctx.Done():
				return nil
			}
		}
	}, func(error) { cancel() }
}
