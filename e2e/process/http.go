// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Get returns the status and the body of a GET.
func Get(ctx context.Context, address string) (int, string, error) {
	return do(ctx, http.MethodGet, address)
}

// Post returns the status and the body of a POST without a body.
func Post(ctx context.Context, address string) (int, string, error) {
	return do(ctx, http.MethodPost, address)
}

func do(ctx context.Context, method, address string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // No connection may outlive the call.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return Do(&http.Client{Transport: transport, CheckRedirect: stay}, req)
}

// Do sends the request and returns the status and the body of the answer.
func Do(client *http.Client, req *http.Request) (int, string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(resp.Body)
	if closing := resp.Body.Close(); err == nil {
		err = closing
	}
	return resp.StatusCode, string(body), err
}

// Answers returns nil when a GET of the address is answered with 200.
func Answers(ctx context.Context, address string) error {
	status, body, err := Get(ctx, address)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", address, status, strings.TrimSpace(body))
	}
	return nil
}

// Sample is one element of a query's result.
type Sample struct {
	Metric    map[string]string `json:"metric"`
	Value     [2]any            `json:"value"`     // time and value of a float
	Histogram json.RawMessage   `json:"histogram"` // time and buckets of a native histogram
}

// Float is the sample's value; 0 when it has none.
func (s Sample) Float() float64 {
	text, ok := s.Value[1].(string)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return f
}

// Query asks the Prometheus server at base (http://host:port) for the value of an expression now.
func Query(ctx context.Context, base, expression string) ([]Sample, error) {
	var data struct {
		Result []Sample `json:"result"`
	}
	err := API(ctx, base+"/api/v1/query?query="+url.QueryEscape(expression), &data)
	return data.Result, err
}

// API gets an address of Prometheus's HTTP API and decodes the data field of its answer.
func API(ctx context.Context, address string, data any) error {
	status, body, err := Get(ctx, address)
	if err != nil {
		return err
	}
	answer := struct {
		Error string `json:"error"`
		Data  any    `json:"data"`
	}{Data: data}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Errorf("%s answered %d: %w", address, status, err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", address, status, answer.Error)
	}
	return nil
}
