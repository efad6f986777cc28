// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// heartbeats are the series that agents ship of themselves, for the reference.
func heartbeats() []described {
	return []described{
		{"torchbearer_agent_info", "gauge", "version, revision, node, config_hash, cluster_uid, scope", "Always 1, with what the agent is: config_hash is of the config files, the same on all agents that have the same; cluster_uid is the UID of namespace kube-system, if it can be read."},
		{"torchbearer_agent_config_ok", "gauge", "", "Whether the agent runs on its config file as it is."},
		{"torchbearer_agent_config_last_good", "gauge", "", "Whether the agent runs on the last good config because its config file is bad."},
		{"torchbearer_agent_backlog_samples", "gauge", "remote_name", "Samples and histograms that have no answer of the destination yet."},
		{"torchbearer_agent_backlog_seconds", "gauge", "remote_name", "Age of the oldest sample without an answer of the destination, 0 if there is none."},
		{"torchbearer_agent_lost_samples_total", "counter", "remote_name, reason", "Samples and histograms that the destination will never have, by reason, since the start."},
		{"torchbearer_agent_clock_offset_seconds", "gauge", "remote_name", "By how much the receiver's clock is ahead of the agent's; absent until it has told."},
		{"torchbearer_agent_budget_hours", "gauge", "remote_name", "How long the disk budget lasts at the present rate when nothing is sent; absent until that is known."},
		{"torchbearer_agent_series", "gauge", "", "Active series."},
		{"torchbearer_agent_series_limit", "gauge", "", "Active series over which new ones are refused, 0 for no limit."},
		{"torchbearer_agent_series_refused_total", "counter", "job: of the targets, not torchbearer", "Samples of new series that were refused, since the start."},
	}
}

// beats collects the names of the heartbeats that come.
type beats struct {
	mu    sync.Mutex
	names map[string]bool
}

// take reads a Remote Write 2.0 request and answers it.
func (b *beats) take(t *testing.T, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var request writev2.Request
	if body, err = snappy.Decode(nil, body); err == nil {
		err = request.Unmarshal(body)
	}
	if err != nil {
		t.Error(err)
	}
	scratch := labels.NewScratchBuilder(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ts := range request.Timeseries {
		ls, err := ts.ToLabels(&scratch, request.Symbols)
		if err != nil {
			t.Error(err)
		}
		if name := ls.Get("__name__"); strings.HasPrefix(name, "torchbearer_agent_") {
			b.names[name] = true
		}
	}
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1000000")
	w.WriteHeader(http.StatusNoContent)
}

// known wants every heartbeat that came to be in the reference.
func (b *beats) known(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	told := map[string]bool{}
	for _, h := range heartbeats() {
		told[h.name] = true
	}
	for name := range b.names {
		if !told[name] {
			t.Errorf("the reference does not have %s", name)
		}
	}
	if len(b.names) < 6 {
		t.Errorf("only %v came", b.names)
	}
}
