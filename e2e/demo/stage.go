// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"torchbearer/e2e/process"
)

// A stage is the three programs of the demo.
type stage struct {
	dir      string
	interval time.Duration

	central, node, agent *program
}

type program struct {
	*process.Process
	name    string
	address string
}

func (p *program) url() string { return "http://" + p.address }

const centralConfig = `# The agent is restarted and catches up: samples may be older than the newest.
storage:
  tsdb:
    out_of_order_time_window: 10m
`

const agentConfig = `global:
  scrape_interval: %[1]s
  scrape_timeout: %[1]s
  external_labels:
    clustername: demo
    environment: local
remote_write:
- url: %[2]s/api/v1/write
  protobuf_message: io.prometheus.write.v2.Request
  queue_config: {batch_send_deadline: 1s}
scrape_configs:
- job_name: torchbearer
  static_configs: [{targets: ['%[3]s']}]
- job_name: prometheus
  static_configs: [{targets: ['%[4]s']}]
- job_name: node
  static_configs: [{targets: ['%[5]s']}]
`

// start runs the programs; whatever it has started close ends, also after an error.
func (s *stage) start(ctx context.Context) error {
	central, err := process.Neighbour("prometheus")
	if err != nil {
		return err
	}
	node, err := process.Neighbour("node_exporter")
	if err != nil {
		return err
	}
	agent, err := process.Torchbearer()
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(centralConfig), 0o600); err != nil {
		return err
	}
	s.central, err = launch(ctx, "prometheus", central, "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(s.dir, "prometheus"), "--web.enable-remote-write-receiver")
	if err != nil {
		return err
	}
	if s.node, err = launch(ctx, "node_exporter", node); err != nil {
		return err
	}
	return s.startAgent(ctx, agent)
}

func (s *stage) startAgent(ctx context.Context, path string) error {
	// It scrapes itself, so its address must be known before it runs.
	address, err := process.FreeAddress(ctx)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(agentConfig, fmt.Sprintf("%dms", s.interval.Milliseconds()),
		s.central.url(), address, s.central.address, s.node.address)
	file := filepath.Join(s.dir, "torchbearer.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	s.agent, err = launchOn(ctx, address, "torchbearer", path, "--config.file="+file,
		"--storage.agent.path="+filepath.Join(s.dir, "torchbearer"), "--web.enable-lifecycle")
	return err
}

func launch(ctx context.Context, name, path string, args ...string) (*program, error) {
	address, err := process.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return launchOn(ctx, address, name, path, args...)
}

func launchOn(ctx context.Context, address, name, path string, args ...string) (*program, error) {
	p, err := process.Start(ctx, process.Options{Path: path, Args: append(args, "--web.listen-address="+address)})
	if err != nil {
		return nil, err
	}
	return &program{Process: p, name: name, address: address}, nil
}

// running lists the programs in the order in which they are to be ended: first who sends, last who receives.
func (s *stage) running() []*program {
	var all []*program
	for _, p := range []*program{s.agent, s.node, s.central} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// close ends the programs, asking first.
func (s *stage) close() {
	for _, p := range s.running() {
		if _, err := p.Stop(10 * time.Second); err != nil {
			fmt.Fprintf(os.Stderr, "demo: %s is killed: %v\n", p.name, err)
		}
		p.Close()
	}
}

// dead is an error with the last log lines of a program that has ended, if one has.
func (s *stage) dead() error {
	for _, p := range s.running() {
		if p.Ended() {
			return fmt.Errorf("%s has ended; its last lines are:\n%s", p.name, p.Tail(10))
		}
	}
	return nil
}

// arrived waits until the central has all three jobs and they are up, or ctx ends.
func (s *stage) arrived(ctx context.Context) error {
	timeout := 60*time.Second + 3*s.interval
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dead error
	err := process.Until(limited, func() error {
		if dead = s.dead(); dead != nil {
			return nil
		}
		up, err := process.Query(limited, s.central.url(), `up{clustername="demo",environment="local"} == 1`)
		if err == nil && len(up) < 3 {
			err = fmt.Errorf("%d of 3 jobs have arrived", len(up))
		}
		return err
	})
	switch {
	case dead != nil:
		return dead
	case err != nil && ctx.Err() == nil:
		return fmt.Errorf("wait %s for the samples: %w; torchbearer's last lines are:\n%s", timeout, err, s.agent.Tail(10))
	}
	return nil
}

// watch waits for the end of ctx (nil) or of a program (an error).
func (s *stage) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.agent.Done():
	case <-s.node.Done():
	case <-s.central.Done():
	}
	return s.dead()
}
