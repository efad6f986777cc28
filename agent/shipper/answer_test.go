// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEveryStatusHasItsVerdict(t *testing.T) {
	t.Parallel()
	told := http.Header{"X-Prometheus-Remote-Write-Samples-Written": {"3"}}
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	plain := http.Header{"Content-Type": {"text/plain"}}
	for _, c := range []struct {
		status int
		v2     bool
		header http.Header
		body   string
		want   verdict
	}{
		{status: 200, header: plain, body: "OK", want: stored},
		{status: 200, header: page, body: "<html>log in</html>", want: park},
		{status: 200, body: "<!DOCTYPE html><html>log in</html>", want: park},
		{status: 200, header: page, want: stored},
		{status: 204, want: stored},
		{status: 202, want: stored},
		{status: 204, v2: true, header: told, want: stored},
		{status: 200, v2: true, header: told, body: "<html>", want: stored},
		{status: 204, v2: true, want: wrongProtocol},
		{status: 200, v2: true, header: page, body: "<html>log in</html>", want: park},
		{status: 301, want: park},
		{status: 302, header: http.Header{"Location": {"https://login.example/?token=abcd"}}, want: park},
		{status: 304, want: park},
		{status: 307, want: park},
		{status: 308, want: park},
		{status: 400, body: "out of order sample", want: refused},
		{status: 400, v2: true, header: told, body: "out of order sample", want: refused},
		{status: 400, header: page, body: "<html>No required SSL certificate was sent</html>", want: park},
		{status: 401, want: park},
		{status: 402, want: park},
		{status: 403, want: park},
		{status: 404, want: park},
		{status: 405, want: park},
		{status: 406, want: park},
		{status: 407, want: park},
		{status: 408, want: retry},
		{status: 409, want: refused},
		{status: 410, want: park},
		{status: 411, want: park},
		{status: 413, want: tooLarge},
		{status: 413, header: page, body: "<html>Request Entity Too Large</html>", want: tooLarge},
		{status: 414, want: park},
		{status: 415, want: park},
		{status: 415, v2: true, want: wrongProtocol},
		{status: 418, want: park},
		{status: 421, want: park},
		{status: 422, want: refused},
		{status: 425, want: park},
		{status: 429, want: retry},
		{status: 431, want: park},
		{status: 451, want: park},
		{status: 499, want: park},
		{status: 500, want: retry},
		{status: 501, want: retry},
		{status: 502, header: page, body: "<html>Bad Gateway</html>", want: retry},
		{status: 503, want: retry},
		{status: 504, want: retry},
		{status: 507, want: retry},
		{status: 511, want: retry},
		{status: 599, want: retry},
		{status: 600, want: park},
		{status: 999, want: park},
	} {
		header := c.header
		if header == nil {
			header = http.Header{}
		}
		request, _ := http.NewRequest(http.MethodPost, "https://receiver.example/", http.NoBody)
		got := judge(&http.Response{StatusCode: c.status, Header: header, Request: request}, []byte(c.body), c.v2)
		if got.verdict != c.want {
			t.Errorf("status %d, 2.0 %v, header %v, body %q: got %s, want %s", c.status, c.v2, c.header, c.body, got.verdict, c.want)
		}
		if strings.Contains(got.words, "abcd") {
			t.Errorf("status %d: the words have the redirect's query: %s", c.status, got.words)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                        0,
		"1":                       time.Second,
		" 7 ":                     7 * time.Second,
		"60":                      time.Minute,
		"3600":                    time.Minute,
		"1000000000":              time.Minute,
		"99999999999999999999999": time.Minute,
		"0":                       0,
		"-5":                      0,
		"1.5":                     0,
		"1e9":                     0,
		"abc":                     0,
		"١":                       0,
		now.Add(3 * time.Second).Format(http.TimeFormat): 3 * time.Second,
		now.Add(time.Hour).Format(http.TimeFormat):       time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		"Sun, 06 Nov 1994 08:49:37 GMT":                  0,
		"Sunday, 06-Nov-94 08:49:37 GMT":                 0,
		"Fri, 31 Dec 9999 23:59:59 GMT":                  time.Minute,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("Retry-After %q: got %v, want %v", value, got, want)
		}
	}
}

func TestWordsAreFitToBeShown(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                            "",
		"  two\n words\r\n":           "two words",
		"\x1b[31mred\x00\x7f \u0085x": "[31mred x",
		"bad \xff utf8":               "bad ? utf8",
		strings.Repeat("é", 400):      strings.Repeat("é", 254) + "...",
	} {
		got := readable([]byte(body))
		if got != want {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
		if len(got) > maxWords {
			t.Errorf("%q: %d bytes", body, len(got))
		}
	}
	for _, c := range []struct {
		status int
		words  string
		bare   bool
	}{
		{400, "", true}, {400, "Bad Request", true}, {400, "bad request.", true}, {400, "bad request: out of order", false}, {409, "Bad Request", false},
	} {
		if a := (answer{status: c.status, words: c.words}); a.bare() != c.bare {
			t.Errorf("%d %q: bare is %v", c.status, c.words, a.bare())
		}
	}
}

func TestWrittenHeaders(t *testing.T) {
	t.Parallel()
	const prefix = "X-Prometheus-Remote-Write-"
	for _, c := range []struct {
		header http.Header
		want   written
	}{
		{http.Header{}, written{}},
		{http.Header{prefix + "Samples-Written": {"0"}}, written{present: true}},
		{http.Header{prefix + "Samples-Written": {"12"}, prefix + "Histograms-Written": {"3"}, prefix + "Exemplars-Written": {"1"}}, written{12, 3, 1, true}},
		{http.Header{prefix + "Samples-Written": {"many"}}, written{}},
		{http.Header{prefix + "Samples-Written": {"-1"}, prefix + "Histograms-Written": {"3"}}, written{0, 3, 0, true}},
	} {
		if got := parseWritten(c.header); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.header, got, c.want)
		}
	}
}

func TestSecretsAreTakenOutOfWords(t *testing.T) {
	t.Parallel()
	sent := &sentSecrets{}
	sent.note("Authorization", []string{"Basic dXNlcjpzM2NyZXQtcGFzcw=="}) // user:s3cret-pass
	sent.note("x-api-key", []string{"plain-key"})
	sent.note("User-Agent", []string{"torchbearer/1"})
	got := sent.hide("torchbearer/1 sent dXNlcjpzM2NyZXQtcGFzcw== that is s3cret-pass, plain-key and tok%2Fen", []string{"tok/en"})
	want := "torchbearer/1 sent <secret> that is <secret>, <secret> and <secret>"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	t.Parallel()
	b := backoff{least: 30 * time.Millisecond, most: 5 * time.Second}
	for i, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3840, 5000, 5000, 5000} {
		want *= time.Millisecond
		if got := b.next(); got > want || got < want*9/10-1 {
			t.Errorf("wait %d is %v, want %v or up to a tenth less", i, got, want)
		}
	}
	for _, odd := range []backoff{{}, {least: time.Second}, {least: time.Second, most: time.Millisecond}} {
		if got := odd.next(); got <= 0 || got > time.Second {
			t.Errorf("%+v waits %v", odd, got)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(400, "1", "text/html", "3", []byte("<html>"), true)
	f.Add(503, "Sun, 06 Nov 1994 08:49:37 GMT", "", "", []byte("\xff\x00 words"), false)
	f.Add(302, "-5", "text/plain", "-1", bytes.Repeat([]byte("é"), 300), true)
	f.Fuzz(func(t *testing.T, status int, after, kind, count string, body []byte, v2 bool) {
		header := http.Header{}
		header.Set("Retry-After", after)
		header.Set("Content-Type", kind)
		header.Set("X-Prometheus-Remote-Write-Samples-Written", count)
		request, _ := http.NewRequest(http.MethodPost, "https://receiver.example/", http.NoBody)
		a := judge(&http.Response{StatusCode: status, Header: header, Request: request}, body, v2)
		if a.verdict == "" || a.retryAfter < 0 || a.retryAfter > maxRetryAfter || len(a.words) > maxWords || a.String() == "" {
			t.Errorf("%+v", a)
		}
		if a.verdict == stored && status/100 != 2 {
			t.Errorf("status %d is a success", status)
		}
	})
}
