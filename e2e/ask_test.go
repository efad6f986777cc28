// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// metric is the sum of all series of a metric of the agent, or the value of one, as name{label="value"}; it is an error
// when there is none.
func (a *agent) metric(ctx context.Context, name string) (float64, error) {
	status, body, err := process.Get(ctx, a.url+"/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "{") {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("/metrics answered %d without a metric %s", status, name)
	}
	return sum, nil
}

// wantMetric waits until a metric has this value.
func (a *agent) wantMetric(t *testing.T, name string, want float64) {
	t.Helper()
	a.until(t, 60*time.Second, "the metric has its value", func(ctx context.Context) error {
		got, err := a.metric(ctx, name)
		if err == nil && math.Abs(got-want) > 1e-9 {
			err = fmt.Errorf("%s is %v, want %v", name, got, want)
		}
		return err
	})
}

// A target as /api/v1/targets shows it.
type target struct {
	ScrapePool string            `json:"scrapePool"`
	Labels     map[string]string `json:"labels"`
	ScrapeURL  string            `json:"scrapeUrl"`
	LastError  string            `json:"lastError"`
	Health     string            `json:"health"`
}

type targets struct {
	Active        []target         `json:"activeTargets"`
	Dropped       []map[string]any `json:"droppedTargets"`
	DroppedCounts map[string]int   `json:"droppedTargetCounts"`
}

func (a *agent) targets(ctx context.Context) (targets, error) {
	var all targets
	err := process.API(ctx, a.url+"/api/v1/targets", &all)
	return all, err
}

// wantDown waits until the only target of the job is down for this reason.
func (a *agent) wantDown(t *testing.T, jobName, reason string) {
	t.Helper()
	a.until(t, 60*time.Second, "job "+jobName+" is down for its reason", func(ctx context.Context) error {
		all, err := a.targets(ctx)
		if err != nil {
			return err
		}
		for _, one := range all.Active {
			if one.ScrapePool != jobName {
				continue
			}
			if one.Health == "down" && strings.Contains(one.LastError, reason) {
				return nil
			}
			err = fmt.Errorf("health is %q and the last error %q, want down and %q", one.Health, one.LastError, reason)
		}
		if err == nil {
			err = fmt.Errorf("the job has no target: %v", all.Active)
		}
		return err
	})
}

// wantArrives waits for a series with these labels at the receiver and returns all of them.
func wantArrives(t *testing.T, a *agent, dest *receiver.Receiver, pairs ...string) []receiver.Series {
	t.Helper()
	var found []receiver.Series
	a.until(t, 60*time.Second, "series "+strings.Join(pairs, " ")+" arrives", func(context.Context) error {
		if found = dest.Match(pairs...); len(found) == 0 {
			return fmt.Errorf("it has not come; %d samples of other series have", dest.Total())
		}
		return nil
	})
	return found
}

// wantQuery waits until an expression has this value at a real Prometheus and returns the labels of its result.
func wantQuery(t *testing.T, a *agent, central, expression string, want float64) map[string]string {
	t.Helper()
	var labels map[string]string
	a.until(t, 60*time.Second, expression, func(ctx context.Context) (err error) {
		labels, err = oneResult(ctx, central, expression, want)
		return err
	})
	return labels
}

// oneResult returns the labels of an expression's one result, if it is that.
func oneResult(ctx context.Context, central, expression string, want float64) (map[string]string, error) {
	result, err := process.Query(ctx, central, expression)
	if err != nil {
		return nil, err
	}
	if len(result) != 1 || result[0].Float() != want {
		return nil, fmt.Errorf("the result is %v, want one sample of value %v", result, want)
	}
	return result[0].Metric, nil
}

// wantUp waits until the last `up` of each of these jobs is 1 at the receiver.
func wantUp(t *testing.T, a *agent, dest *receiver.Receiver, jobNames ...string) {
	t.Helper()
	for _, name := range jobNames {
		a.until(t, 60*time.Second, "job "+name+" is up", func(context.Context) error {
			for _, s := range dest.Match("__name__", "up", "job", name) {
				values := s.Values()
				if len(values) > 0 && values[len(values)-1] == 1 {
					return nil
				}
			}
			return errors.New("no series of up has come with a last value of 1")
		})
	}
}
