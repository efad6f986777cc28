// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"torchbearer/agent/status"
)

// Explainer tells why. It must return soon after ctx is done.
type Explainer interface {
	// ExplainTarget tells of a job, a target or a pod; query is not empty.
	ExplainTarget(ctx context.Context, query string) (status.TargetExplanation, error)
	// ExplainMetric tells of a metric, in all jobs where job is empty. It may ask targets.
	ExplainMetric(ctx context.Context, name, job string) (status.MetricExplanation, error)
}

const (
	maxQuestion     = 2048 // Bytes of a name that is asked for.
	explainPatience = 45 * time.Second
	explainMost     = 8 // Questions about metrics at once: the agent takes them one by one, and the others wait.
)

func (s *Server) explainRoutes(get []string) []route {
	if s.opts.Explain == nil {
		return nil
	}
	return []route{
		{"/api/v1/explain/target", get, s.api(s.explainTarget)},
		{"/api/v1/explain/metric", get, s.api(s.explainMetric)},
	}
}

func (s *Server) explainTarget(r *http.Request) (any, error) {
	q, err := question(r, "q")
	if err != nil {
		return nil, err
	}
	if q == "" {
		return nil, badRequest("nothing is asked for: add ?q= and a job, the URL or host:port of a target, or the name of a pod (or namespace/pod)")
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainPatience)
	defer cancel()
	return s.opts.Explain.ExplainTarget(ctx, q)
}

func (s *Server) explainMetric(r *http.Request) (any, error) {
	name, err := question(r, "name")
	if err != nil {
		return nil, err
	}
	job, err := question(r, "job")
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, badRequest("nothing is asked for: add ?name= and the name of a metric, and &job= for one job only")
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainPatience)
	defer cancel()
	return s.askMetric(ctx, name, job)
}

// askMetric lets no more wait than may, so that there is room for other requests.
func (s *Server) askMetric(ctx context.Context, name, job string) (status.MetricExplanation, error) {
	select {
	case s.explaining <- struct{}{}:
		defer func() { <-s.explaining }()
	default:
		return status.MetricExplanation{}, crowded(fmt.Sprintf("%d others have asked about metrics; try again in a moment", explainMost))
	}
	return s.opts.Explain.ExplainMetric(ctx, name, job)
}

// question is a parameter that is not too long to mean something.
func question(r *http.Request, parameter string) (string, error) {
	value := strings.TrimSpace(r.URL.Query().Get(parameter))
	if len(value) > maxQuestion {
		return "", badRequest(fmt.Sprintf("parameter %s has %d bytes; names of up to %d are explained", parameter, len(value), maxQuestion))
	}
	return value, nil
}
