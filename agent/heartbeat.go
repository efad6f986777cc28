// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"torchbearer/agent/targets"
)

// heartbeatJob is the label job of what the agent says of itself.
const heartbeatJob = "torchbearer"

// heartbeat writes into the log how the agent is, so that every destination
// notices when it is missing. It is for one goroutine.
type heartbeat struct {
	agent    *Agent
	instance string
	alive    map[string]*beatSeries // by their labels
	beats    int
	failing  bool // logged once
}

// beatSeries is a series that was written.
type beatSeries struct {
	labels labels.Labels
	ref    storage.SeriesRef
	kind   model.MetricType
	help   string
	value  float64
	beat   int // the last one that had it
}

// beat writes a heartbeat at once and then at each interval, until end is called,
// which ends its series.
func (a *Agent) beat(ctx context.Context) (end func()) {
	if a.opts.Heartbeat <= 0 {
		return func() {}
	}
	h := &heartbeat{agent: a, instance: a.instance(), alive: map[string]*beatSeries{}}
	writing := context.WithoutCancel(ctx) // The last words are said when ctx is done.
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(a.opts.Heartbeat)
		defer ticker.Stop()
		for {
			h.write(writing, a.vitals())
			select {
			case <-ticker.C:
			case <-ctx.Done():
				h.write(writing, nil)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// instance is the node, or the host where it does not name the agent: several
// may take the cluster scope on one.
func (a *Agent) instance() string {
	if node := a.node(); node != "" && a.opts.Targets.Part != targets.PartCluster {
		return node
	}
	host, err := os.Hostname()
	if err != nil {
		level.Warn(a.logger).Log("msg", "the host has no name; heartbeats have none", "err", err)
	}
	return host
}

// node is where the agent runs, "" if that is not known.
func (a *Agent) node() string { return cmp.Or(a.targets.Status().Node, a.opts.Targets.Place.Node) }

// write logs vitals, and the end of the series that they have no more.
func (h *heartbeat) write(ctx context.Context, vitals []vital) {
	h.beats++
	for i := range vitals {
		h.note(&vitals[i])
	}
	now := time.Now().UnixMilli()
	app := h.agent.wal.AppenderV2(ctx)
	var trouble error
	for key, s := range h.alive {
		v, opts := s.value, storage.AOptions{
			MetricFamilyName: s.labels.Get(model.MetricNameLabel),
			Metadata:         metadata.Metadata{Type: s.kind, Help: s.help},
		}
		if s.beat != h.beats {
			v, opts = math.Float64frombits(promvalue.StaleNaN), storage.AOptions{}
			delete(h.alive, key)
		}
		ref, err := app.Append(s.ref, s.labels, 0, now, v, nil, nil, opts)
		if err != nil {
			h.agent.metrics.heartbeatLost.Inc()
			trouble = errors.Join(trouble, err)
			continue
		}
		s.ref = ref
	}
	if err := app.Commit(); err != nil {
		trouble = err // The log counts what it could not take.
	}
	if trouble != nil && !h.failing {
		level.Warn(h.agent.logger).Log("msg", "a heartbeat could not be logged", "err", trouble)
	}
	h.failing = trouble != nil
}

// note takes a vital into the beat that is being written.
func (h *heartbeat) note(v *vital) {
	b := labels.NewBuilder(labels.FromStrings(
		model.MetricNameLabel, "torchbearer_agent_"+v.name, model.JobLabel, heartbeatJob, model.InstanceLabel, h.instance))
	for i := 0; i+1 < len(v.labels); i += 2 {
		b.Set(v.labels[i], v.labels[i+1])
	}
	ls := b.Labels()
	key := ls.String()
	s, value := h.alive[key], v.value
	if s == nil {
		s = &beatSeries{labels: ls, kind: v.kind, help: v.help}
		h.alive[key] = s
		if v.kind == model.MetricTypeCounter {
			value = 0 // Whoever asks for an increase would not see what a series begins with.
		}
	}
	s.value, s.beat = value, h.beats
}
