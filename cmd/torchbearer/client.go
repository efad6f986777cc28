// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	promhttp "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"torchbearer/config"
)

// maxAnswer bounds what is read of an answer of the API.
const maxAnswer = 64 << 20

// client is for the commands that ask a running agent.
type client struct {
	url        string
	configFile string
}

func (c *client) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("url", "Where the agent answers, with its route prefix if it has one.").
		Default("http://localhost:9090").StringVar(&c.url)
	cmd.Flag("http.config.file", "How to ask it: a file with basic_auth, authorization, tls_config and the like, as promtool takes it, see https://prometheus.io/docs/prometheus/latest/configuration/promtool").
		PlaceHolder("<file>").StringVar(&c.configFile)
}

// get asks for a path below the agent's URL. The answer is one with status 200, whose body the caller closes.
func (c *client) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	base, err := url.Parse(c.url)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("--url %s: write http:// or https://, a host and a port", config.HideSecrets(c.url))
	}
	at := base.JoinPath(path)
	at.RawQuery = query.Encode()
	asker, err := c.http()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := asker.Do(req)
	if wrong := (*url.Error)(nil); errors.As(err, &wrong) {
		err = wrong.Err // Its URL may have a password.
	}
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		return nil, fmt.Errorf("ask the agent at %s: %w; name its authority by tls_config.ca_file in --http.config.file", config.HideSecrets(c.url), err)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w; is it running, and is --url its address?", config.HideSecrets(c.url), err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }() // Its words are all we want.
		return nil, refusal(config.HideSecrets(at.String()), resp)
	}
	return resp, nil
}

// data gets what the API answers at a path, without its envelope.
func (c *client) data(ctx context.Context, path string, query url.Values) (json.RawMessage, error) {
	resp, err := c.get(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // It was only read.
	var answer struct{ Data json.RawMessage }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w; is it a torchbearer?", config.HideSecrets(c.url), err)
	}
	return answer.Data, nil
}

func (c *client) http() (*http.Client, error) {
	cfg := &promhttp.HTTPClientConfig{FollowRedirects: true, EnableHTTP2: true}
	if c.configFile != "" {
		var err error
		if cfg, _, err = promhttp.LoadHTTPConfigFile(c.configFile); err != nil {
			return nil, fmt.Errorf("read --http.config.file %s: %w", c.configFile, err)
		}
	}
	asker, err := promhttp.NewClientFromConfig(*cfg, "torchbearer",
		promhttp.WithUserAgent(version.ComponentUserAgent("torchbearer")), promhttp.WithKeepAlivesDisabled())
	if err != nil {
		return nil, fmt.Errorf("use --http.config.file %s: %w", c.configFile, err)
	}
	return asker, nil
}

// refusal is an answer that is none, in the agent's words if it is the agent that answers.
func refusal(address string, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // Some words are better than none.
	var answer struct {
		Error string `json:"error"`
	}
	words := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &answer) == nil {
		words = answer.Error
	}
	remedy := "; is this a torchbearer?"
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		remedy = "; give user and password by --http.config.file"
	case http.StatusServiceUnavailable:
		remedy = "; try again"
	case http.StatusInternalServerError, http.StatusBadRequest:
		remedy = ""
	}
	return fmt.Errorf("%s answered %s: %s%s", address, resp.Status, cmp.Or(words, "nothing"), remedy)
}
