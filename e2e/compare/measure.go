// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// clockTicks is USER_HZ of Linux, in which /proc/<pid>/stat counts.
const clockTicks = 100

// measure runs one agent once: it warms up for two intervals, is measured, and then has to deliver everything.
func measure(ctx context.Context, s setting, c *contestant) (result cost, err error) {
	dir, err := os.MkdirTemp("", "torchbearer-compare-")
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fleet, err := load.Open(s.load) //nolint:contextcheck // Its servers end by Close.
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	dest := receiver.New()
	if err := dest.Listen("127.0.0.1:0"); err != nil { //nolint:contextcheck // Its server ends by Close.
		return result, err
	}
	defer func() { err = errors.Join(err, dest.Close()) }()

	agent, address, err := start(ctx, s, c, dir, fleet, dest)
	if err != nil {
		return result, err
	}
	defer agent.Close()
	if err := sleep(ctx, agent, 2*s.interval); err != nil {
		return result, err
	}
	cpuBefore, samplesBefore, err := used(agent, fleet)
	if err != nil {
		return result, err
	}
	if err := s.work(ctx, agent, address); err != nil {
		return result, err
	}
	cpu, samples, err := used(agent, fleet)
	if err != nil {
		return result, err
	}
	resident, err := agent.Memory()
	if err != nil {
		return result, err
	}
	fleet.Pause()
	if err := agent.Until(ctx, fleet.Settled); err != nil {
		return result, err
	}
	if _, err := agent.Stop(time.Minute); err != nil {
		return result, err
	}
	arrived := 0
	for _, series := range dest.Match("__name__", load.Metric) {
		arrived += len(series.Values())
	}
	return cost{
		cpu:      (cpu - cpuBefore).Seconds() * 1e6 / float64(samples-samplesBefore),
		resident: float64(resident) / 1e6,
		lost:     float64(fleet.Samples() - arrived + dest.Duplicates()),
	}, nil
}

// work lets an agent work for as long as it is measured.
func (s setting) work(ctx context.Context, agent *process.Process, address string) error {
	if s.profile != "" {
		return profile(ctx, address, s.length, s.profile)
	}
	return sleep(ctx, agent, s.length)
}

// start runs an agent, which has its HTTP surface at address.
func start(ctx context.Context, s setting, c *contestant, dir string, fleet *load.Fleet, dest *receiver.Receiver) (agent *process.Process, address string, err error) {
	config := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf("global:\n  scrape_interval: %dms\n  external_labels: {clustername: compare, environment: local}\n"+
		"remote_write:\n- url: %s\n  protobuf_message: %s\n"+
		"scrape_configs:\n- job_name: load\n  static_configs:\n  - targets: [%s]\n",
		s.interval.Milliseconds(), dest.URL(), s.protocol(), strings.Join(fleet.Addresses(), ", "))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	if address, err = process.FreeAddress(ctx); err != nil {
		return nil, "", err
	}
	agent, err = process.Start(ctx, process.Options{Path: c.path, Args: append([]string{
		"--config.file=" + config, "--storage.agent.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
	}, c.flags...)})
	return agent, address, err
}

// profile takes as long as it says to write a CPU profile of an agent to a file.
func profile(ctx context.Context, address string, length time.Duration, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", address, length.Seconds())
	status, body, err := process.Get(ctx, url)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: %d: %s", url, status, body)
	}
	return os.WriteFile(file, []byte(body), 0o600)
}

// used is the processor time of an agent and the samples that its targets have shown.
func used(agent *process.Process, fleet *load.Fleet) (cpu time.Duration, samples int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", agent.Pid()))
	if err != nil {
		return 0, 0, err
	}
	// The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(ticks) * time.Second / clockTicks
	}
	return cpu, fleet.Samples(), nil
}

// sleep waits, and ends early when the agent does.
func sleep(ctx context.Context, agent *process.Process, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-agent.Done():
		return fmt.Errorf("it has ended: %s", agent.Tail(5))
	}
}
