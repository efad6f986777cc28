// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// The names of agents in tables.
const (
	base    = "Prometheus agent"
	baseOld = "Prometheus agent, RW 1.0"
	peer    = "vmagent"
	ours    = "torchbearer"
	another = "another torchbearer"
)

// An agent is a program that is measured.
type agent struct {
	name, path string
	version    string   // "" is not known
	message    string   // of Remote Write, as protobuf_message names it; "" for vmagent, which has a protocol of its own
	loads      []string // by their names; nil is all
}

func (a agent) at(load string) bool { return a.loads == nil || slices.Contains(a.loads, load) }

// size is that of the program in bytes.
func (a agent) size() (int64, error) {
	info, err := os.Stat(a.path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// agents are those to measure, the one first that all others are compared with.
func (s setting) agents() ([]agent, error) {
	path, err := process.Torchbearer()
	if err != nil {
		return nil, err
	}
	us := agent{name: ours, path: path, version: "this tree", message: receiver.ProtocolV2}
	if s.profile != "" {
		return []agent{us}, nil
	}
	prometheus, version, err := neighbour("prometheus")
	if err != nil {
		return nil, err
	}
	all := []agent{{name: base, path: prometheus, version: version, message: receiver.ProtocolV2}}
	if s.oldAt != "" {
		all = append(all, agent{
			name: baseOld, path: prometheus, version: version, message: receiver.ProtocolV1,
			loads: strings.Split(s.oldAt, ","),
		})
	}
	vmagent, version, err := neighbour("vmagent")
	if err != nil {
		return nil, err
	}
	all = append(all, agent{name: peer, path: vmagent, version: version}, us)
	if s.other != "" {
		all = append(all, agent{name: another, path: s.other, message: receiver.ProtocolV2})
	}
	return all, nil
}

// neighbour finds a peer and the version that it was built at.
func neighbour(name string) (path, version string, err error) {
	if path, err = process.Neighbour(name); err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(path + ".version")
	if errors.Is(err, fs.ErrNotExist) {
		return path, "", nil
	}
	return path, strings.TrimSpace(string(text)), err
}

// work is what an agent has to do.
type work struct {
	interval     time.Duration
	targets      []string // host:port
	destinations []string // URLs
	dir          string   // for its config and its data
	address      string   // of its HTTP surface
}

// arguments writes the config of an agent and returns the flags to start it with: all scrape the same targets at the same
// interval, and add the same labels. Everything else is as each has it by default.
func (a agent) arguments(w work) ([]string, error) {
	config, data := filepath.Join(w.dir, "config.yaml"), filepath.Join(w.dir, "data")
	var text strings.Builder
	fmt.Fprintf(&text, "global:\n  scrape_interval: %dms\n  external_labels: {clustername: bench, environment: local}\n"+
		"scrape_configs:\n- job_name: load\n  static_configs:\n  - targets: [%s]\n",
		w.interval.Milliseconds(), strings.Join(w.targets, ", "))
	var flags []string
	if a.message == "" {
		flags = []string{"-promscrape.config=" + config, "-remoteWrite.tmpDataPath=" + data, "-httpListenAddr=" + w.address}
		for _, url := range w.destinations {
			flags = append(flags, "-remoteWrite.url="+url)
		}
	} else {
		flags = []string{"--agent", "--config.file=" + config, "--storage.agent.path=" + data, "--web.listen-address=" + w.address}
		text.WriteString("remote_write:\n")
		for _, url := range w.destinations {
			fmt.Fprintf(&text, "- url: %s\n  protobuf_message: %s\n", url, a.message)
		}
	}
	return flags, os.WriteFile(config, []byte(text.String()), 0o600)
}
