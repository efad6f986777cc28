// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

func escape(text string) string { return url.QueryEscape(text) }

// get asks nginx for a URL under example.com.
func (c *chain) get(ctx context.Context, address, user, password string) (int, string, error) {
	return c.do(ctx, http.MethodGet, address, user, password, "")
}

func (c *chain) do(ctx context.Context, method, address, user, password, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	client := c.client
	if req.URL.Scheme == "http" {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	return process.Do(client, req)
}

// influxPost posts to InfluxDB past nginx, which may not run yet.
func (c *chain) influxPost(ctx context.Context, env, path, user, password, body string) error {
	status, answer, err := c.do(ctx, http.MethodPost, "http://"+c.influx[env]+path, user, password, body)
	if err != nil {
		return err
	}
	if status/100 != 2 || strings.Contains(answer, `"error"`) {
		return fmt.Errorf("InfluxDB answered %d: %s", status, answer)
	}
	return nil
}

// A row of an answer to InfluxQL.
type influxSeries struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	Values  [][]any           `json:"values"`
}

// influxQL asks InfluxDB through nginx as the user of this environment, about its database.
func (c *chain) influxQL(ctx context.Context, env, query string) ([]influxSeries, error) {
	status, body, err := c.get(ctx, "https://influxdb-"+env+".example.com/query?db="+c.database[env]+"&q="+escape(query),
		"prometheus-"+env, c.influxPassword(env))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Series []influxSeries `json:"series"`
			Error  string         `json:"error"`
		} `json:"results"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Results) != 1 {
		return nil, fmt.Errorf("InfluxDB answered %d: %s", status, body)
	}
	if text := answer.Results[0].Error; text != "" {
		return nil, fmt.Errorf("InfluxDB: %s", text)
	}
	return answer.Results[0].Series, nil
}

// tagValues are the values of a label in the database of an environment.
func (c *chain) tagValues(ctx context.Context, env, label string) (map[string]bool, error) {
	series, err := c.influxQL(ctx, env, "SHOW TAG VALUES WITH KEY = "+label)
	values := map[string]bool{}
	for _, one := range series {
		for _, row := range one.Values {
			values[fmt.Sprint(row[1])] = true
		}
	}
	return values, err
}

// wantValue waits until an expression has one result of this value at a central, and returns its labels.
func (s *central) wantValue(t *testing.T, expression string, want float64) map[string]string {
	t.Helper()
	var labels map[string]string
	until(t, 60*time.Second, expression, func(ctx context.Context) (err error) {
		labels, err = oneResult(ctx, s.url, expression, want)
		return err
	})
	return labels
}

// wantNothing fails when an expression has a result.
func (s *central) wantNothing(t *testing.T, expression string) {
	t.Helper()
	result, err := process.Query(t.Context(), s.url, expression)
	if err != nil || len(result) > 0 {
		t.Errorf("%s: %v, want no result: %v", expression, result, err)
	}
}
