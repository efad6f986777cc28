// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"

	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"
	"github.com/prometheus/sigv4"
)

const (
	// maxWords is how much of what a receiver says is kept.
	maxWords = 512
	// maxBody is how much of an answer is read at most, so that the connection
	// can be used again; of it maxHead bytes are looked at.
	maxBody = 64 << 10
	maxHead = 4 << 10
	// bodyPatience is how long the body of an answer may take after its header.
	bodyPatience = 5 * time.Second
	// defaultTimeout is Prometheus's remote_timeout.
	defaultTimeout = 30 * time.Second
)

// client sends requests to one URL. It is for concurrent use, and is made anew
// when what it is made of changes; credentials and certificates that come from
// files are read again when those change.
type client struct {
	http    *http.Client
	url     string
	secrets []string // that stand in the URL
	timeout time.Duration
}

// newClient returns a client for a destination whose URL has no user and
// password. Redirects are never followed: what they lead to is not the receiver.
func newClient(rw *promconfig.RemoteWriteConfig) (*client, error) {
	cfg := rw.HTTPClientConfig
	cfg.FollowRedirects = false
	var options []promcfg.HTTPClientOption
	if rw.RoundRobinDNS {
		options = append(options, promcfg.WithDialContextFunc((&roundRobin{}).dial))
	}
	h, err := promcfg.NewClientFromConfig(cfg, "remote_write", options...)
	if err != nil {
		return nil, err
	}
	if h.Transport, err = authorized(rw, h.Transport); err != nil {
		return nil, err
	}
	c := &client{http: h, url: rw.URL.String(), timeout: time.Duration(rw.RemoteTimeout)}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if rw.URL.RawQuery != "" {
		c.secrets = append(c.secrets, rw.URL.RawQuery)
		for _, values := range rw.URL.Query() {
			c.secrets = append(c.secrets, values...)
		}
	}
	return c, nil
}

// authorized puts the headers of the config, and the ways to authorize that
// common/config does not know, round a transport, in Prometheus's order.
func authorized(rw *promconfig.RemoteWriteConfig, next http.RoundTripper) (http.RoundTripper, error) {
	var err error
	if len(rw.Headers) > 0 {
		next = &addHeaders{headers: rw.Headers, next: next}
	}
	if rw.SigV4Config != nil {
		if next, err = sigv4.NewSigV4RoundTripper(rw.SigV4Config, next); err != nil {
			return nil, fmt.Errorf("sigv4: %w", err)
		}
	}
	if rw.AzureADConfig != nil {
		if next, err = azuread.NewAzureADRoundTripper(rw.AzureADConfig, next); err != nil {
			return nil, fmt.Errorf("azuread: %w", err)
		}
	}
	if rw.GoogleIAMConfig != nil {
		if next, err = googleiam.NewRoundTripper(rw.GoogleIAMConfig, next); err != nil {
			return nil, fmt.Errorf("google_iam: %w", err)
		}
	}
	return next, nil
}

// addHeaders sets the headers that the config wants.
type addHeaders struct {
	headers map[string]string
	next    http.RoundTripper
}

func (t *addHeaders) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for name, value := range t.headers {
		req.Header.Set(name, value)
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections is what http.Client looks for.
func (t *addHeaders) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}

// close lets go of connections that are not in use.
func (c *client) close() { c.http.CloseIdleConnections() }

// post makes one attempt, within the timeout of the config, to send a body,
// which nobody touches any more when it returns. attempt counts from 0.
func (c *client) post(ctx context.Context, v2 bool, compressed []byte, attempt int) answer {
	attemptCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	sent, body := &sentSecrets{}, newSendBody(compressed)
	defer body.end()
	req, err := c.request(httptrace.WithClientTrace(attemptCtx, sent.trace()), v2, body, attempt)
	if err != nil {
		return c.failed(err, sent)
	}
	begun := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() == nil && attemptCtx.Err() != nil {
			err = fmt.Errorf("no answer within %v", c.timeout)
		}
		return c.failed(err, sent)
	}
	answered := time.Now()
	defer func() { _ = resp.Body.Close() }() // It was only read.
	patience := time.AfterFunc(bodyPatience, cancel)
	defer patience.Stop()
	head, err := readAnswer(resp.Body)
	if err != nil && attemptCtx.Err() == nil {
		a := c.failed(fmt.Errorf("the answer broke off: %w", err), sent)
		a.status = resp.StatusCode
		return a
	}
	a := judge(resp, head, v2)
	a.ahead, a.dated = ahead(resp.Header, begun, answered)
	a.words = sent.hide(a.words, c.secrets)
	return a
}

func (c *client) request(ctx context.Context, v2 bool, body *sendBody, attempt int) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, body.open())
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(len(body.content))
	req.GetBody = func() (io.ReadCloser, error) { return body.open(), nil }
	kind, protocol := "application/x-protobuf", "0.1.0"
	if v2 {
		kind, protocol = "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "torchbearer/"+version.Version)
	req.Header.Set("X-Prometheus-Remote-Write-Version", protocol)
	if attempt > 0 {
		req.Header.Set("Retry-Attempt", strconv.Itoa(attempt))
	}
	return req, nil
}

// readAnswer reads the body of an answer up to maxBody and returns its beginning.
func readAnswer(body io.Reader) ([]byte, error) {
	head, err := io.ReadAll(io.LimitReader(body, maxHead))
	if err == nil && len(head) == maxHead {
		_, err = io.CopyN(io.Discard, body, maxBody-maxHead)
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return head, err
}

// failed is the answer when there was none. The connections are given up: the
// name may stand for another address now.
func (c *client) failed(err error, sent *sentSecrets) answer {
	c.close()
	a := answer{verdict: judgeError(err), certificate: isCertificateError(err)}
	if broken, ok := errors.AsType[*url.Error](err); ok {
		err = broken.Err // Without the URL.
	}
	a.err = errors.New(sent.hide(readable([]byte(err.Error())), c.secrets))
	return a
}
