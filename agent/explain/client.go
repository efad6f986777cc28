// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	promcfg "github.com/prometheus/common/config"
)

// maxAnswer bounds what is read of an agent's answer.
const maxAnswer = 64 << 20

// Client asks a running agent.
type Client struct {
	base *url.URL
	http *http.Client
}

// NewClient returns one for the agent at that URL, which may have a path. The file
// is Prometheus's HTTP client config, for TLS and authentication; "" is none.
func NewClient(agentURL, file string) (*Client, error) {
	base, err := url.Parse(agentURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of an agent; write http://host:9090", agentURL)
	}
	cfg := &promcfg.DefaultHTTPClientConfig
	if file != "" {
		if cfg, _, err = promcfg.LoadHTTPConfigFile(file); err != nil {
			return nil, fmt.Errorf("read HTTP client config %s: %w", file, err)
		}
	}
	client, err := promcfg.NewClientFromConfig(*cfg, "torchbearer")
	if err != nil {
		return nil, fmt.Errorf("make HTTP client by %s: %w", file, err)
	}
	return &Client{base: base, http: client}, nil
}

// Close ends its connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask asks the agent's API at the path and returns the data of its answer.
func (c *Client) Ask(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	at := c.base.JoinPath(path)
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // The rest is the URL again.
		}
		return nil, fmt.Errorf("ask the agent at %s: %w; is it running there?", c.base.Redacted(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of the agent at %s: %w", c.base.Redacted(), err)
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err == nil && resp.StatusCode == http.StatusOK && answer.Status == "success" {
		return answer.Data, nil
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("the agent at %s lets nobody in without authentication (HTTP status %d): name a file with it", c.base.Redacted(), resp.StatusCode)
	case answer.Error != "":
		return nil, fmt.Errorf("the agent at %s answers: %s", c.base.Redacted(), answer.Error)
	default:
		return nil, fmt.Errorf("at %s there is no agent that can explain: HTTP status %d, %s", c.base.Redacted(), resp.StatusCode, firstLine(body))
	}
}

func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return plain(cut(line, maxValue))
}
