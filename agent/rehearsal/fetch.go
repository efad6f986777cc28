// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"torchbearer/agent/status"
	"torchbearer/config"
)

// maxAnswer bounds what is read of a running agent's answer.
const maxAnswer = 256 << 20

// fetchPatience is how long a running agent may take for one answer.
const fetchPatience = 10 * time.Second

var errNotServed = errors.New("it does not serve that")

// Fetch asks a running agent, by its URL, what it runs.
func Fetch(ctx context.Context, raw string) (*Running, error) {
	base, err := url.Parse(raw)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("read the URL of the running agent: %q is none; write http://HOST:PORT", config.HideSecrets(raw))
	}
	r := &Running{Against: config.HideSecrets(base.String()), Targets: map[string]int{}}
	var cfg struct {
		YAML string `json:"yaml"`
	}
	if err := fetch(ctx, base, "api/v1/status/config", "", &cfg); err != nil {
		return nil, err
	}
	r.Config = cfg.YAML
	var targets struct {
		ActiveTargets []struct {
			ScrapePool string `json:"scrapePool"`
		} `json:"activeTargets"`
	}
	if err := fetch(ctx, base, "api/v1/targets", "state=active", &targets); err != nil {
		return nil, err
	}
	for _, t := range targets.ActiveTargets {
		r.Targets[t.ScrapePool]++
	}
	var series status.Series
	switch err := fetch(ctx, base, "api/v1/status/series", "", &series); {
	case errors.Is(err, errNotServed): // It is of an older version.
	case err != nil:
		return nil, err
	default:
		r.TakeSeries(&series)
	}
	return r, nil
}

// TakeSeries takes over who makes the active series.
func (r *Running) TakeSeries(s *status.Series) {
	r.Active, r.Series = &s.Active, map[string]int64{}
	for _, j := range s.Jobs {
		r.Series[j.Job] = j.Active
	}
}

// fetch reads the data of one answer of the API.
func fetch(ctx context.Context, base *url.URL, path, query string, data any) (err error) {
	at := base.JoinPath(path)
	at.RawQuery = query
	defer func() {
		if err != nil {
			err = fmt.Errorf("ask the running agent for %s: %w", config.HideSecrets(at.String()), err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if broken, ok := errors.AsType[*url.Error](err); ok {
			err = broken.Err // The URL is told already, without secrets.
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }() // It was only read.
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return errNotServed
	case resp.StatusCode != http.StatusOK:
		return errors.New("HTTP status " + resp.Status)
	case !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"):
		return errors.New("the answer is no JSON: is it a torchbearer?")
	}
	envelope := struct {
		Data any `json:"data"`
	}{data}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&envelope); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
