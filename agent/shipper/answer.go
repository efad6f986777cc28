// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// verdict is what an answer means for what was sent.
type verdict string

const (
	stored verdict = "stored"
	// retry: the receiver is there but cannot, or it could not be asked.
	retry verdict = "retry"
	// park: what answered is not a receiver that is ready: a login page, a route
	// that is missing, a credential or certificate that is wrong.
	park          verdict = "park"
	tooLarge      verdict = "too_large"
	refused       verdict = "refused"
	wrongProtocol verdict = "wrong_protocol" // of what was sent by 2.0: not known there
)

// maxRetryAfter is the longest that a receiver may have itself waited for.
const maxRetryAfter = 60 * time.Second

// written is what a 2.0 receiver says that it has stored.
type written struct {
	samples, histograms, exemplars int

	present bool // false: it says nothing
}

// answer is what came of one attempt to send a request.
type answer struct {
	verdict    verdict
	status     int // 0 without a whole answer
	retryAfter time.Duration
	written    written
	words      string        // the receiver's, for people; without secrets
	err        error         // why there is no whole answer; without secrets
	ahead      time.Duration // of the receiver's clock, by its Date
	dated      bool          // it has one

	certificate bool // err is that one side does not trust the other
}

// String says for people what went wrong.
func (a *answer) String() string {
	switch {
	case a.status == 0 && a.err != nil:
		return a.err.Error()
	case a.err != nil:
		return fmt.Sprintf("HTTP status %d: %v", a.status, a.err)
	case a.words == "":
		return fmt.Sprintf("HTTP status %d (%s)", a.status, http.StatusText(a.status))
	}
	return fmt.Sprintf("HTTP status %d: %s", a.status, a.words)
}

// bare says that the receiver has not said more than the status.
func (a *answer) bare() bool {
	return a.words == "" || strings.EqualFold(strings.Trim(a.words, " ."), http.StatusText(a.status))
}

// judge reads the status, the header and the beginning of the body.
func judge(resp *http.Response, body []byte, v2 bool) answer {
	a := answer{status: resp.StatusCode, written: parseWritten(resp.Header), words: readable(body)}
	page := !a.written.present && isPage(resp.Header, body)
	switch code := resp.StatusCode; {
	case code/100 == 2:
		switch {
		case page:
			a.verdict = park
		case v2 && !a.written.present:
			a.verdict = wrongProtocol
		default:
			a.verdict = stored
		}
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		a.verdict = retry
		a.retryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	case code == http.StatusRequestEntityTooLarge:
		a.verdict = tooLarge
	case code == http.StatusUnsupportedMediaType && v2:
		a.verdict = wrongProtocol
	case code == http.StatusBadRequest, code == http.StatusConflict, code == http.StatusUnprocessableEntity:
		// A page for people is a proxy's: nginx says 400 to a missing client
		// certificate.
		if a.verdict = refused; page {
			a.verdict = park
		}
	default:
		a.verdict = park
		if to := redirect(resp); to != "" {
			a.words = strings.TrimSpace("redirects to " + to + " " + a.words)
		}
	}
	return a
}

// isPage says whether a body is meant for a browser.
func isPage(header http.Header, body []byte) bool {
	if len(body) == 0 {
		return false
	}
	kind := header.Get("Content-Type")
	if kind == "" {
		kind = http.DetectContentType(body)
	}
	return strings.HasPrefix(strings.ToLower(kind), "text/html")
}

// redirect is where a 3xx leads, without what may be secret in it.
func redirect(resp *http.Response) string {
	to, err := resp.Location()
	if err != nil || resp.StatusCode/100 != 3 {
		return ""
	}
	return (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()
}

func parseWritten(header http.Header) written {
	var w written
	for name, count := range map[string]*int{
		"Samples": &w.samples, "Histograms": &w.histograms, "Exemplars": &w.exemplars,
	} {
		value := header.Get("X-Prometheus-Remote-Write-" + name + "-Written")
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			*count, w.present = n, true
		}
	}
	return w
}

// parseRetryAfter reads seconds or an HTTP date. 0 is that nothing sensible is
// said.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return maxRetryAfter // It has more digits than that.
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// readable makes the beginning of a body fit to be shown.
func readable(body []byte) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(body), "?"))
	return shorten(strings.Join(strings.Fields(text), " "), maxWords)
}

// shorten cuts a text, between characters, to at most n bytes.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-len("...")], "") + "..."
}

// judgeError says what to do when there was no whole answer.
func judgeError(err error) verdict {
	var token *oauth2.RetrieveError
	if errors.As(err, &token) && token.Response != nil && token.Response.StatusCode/100 == 4 {
		return park
	}
	if isCertificateError(err) {
		return park
	}
	return retry
}

func isCertificateError(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		invalid      x509.CertificateInvalidError
		record       tls.RecordHeaderError
		operation    *net.OpError
	)
	// An alert of the other side comes as an error of an unexported type in an
	// OpError of this name.
	alert := errors.As(err, &operation) && (operation.Op == "remote error" || operation.Op == "local error")
	return alert || errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}
