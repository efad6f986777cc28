// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestHugeHeaders(t *testing.T) {
	r := run(t, newOptions(t), nil)
	f := func(size int, want string) {
		t.Helper()
		conn := dial(t, r.address(0))
		_, _ = fmt.Fprintf(conn, "GET /-/healthy HTTP/1.1\r\nHost: a\r\nX-Big: %s\r\n\r\n", strings.Repeat("x", size))
		got, err := statusLine(conn)
		if !strings.HasPrefix(got, want) {
			t.Errorf("%d bytes: %q, %v; want %s", size, got, err, want)
		}
	}
	f(1<<10, "HTTP/1.1 200")
	f(60<<10, "HTTP/1.1 200")
	f(80<<10, "HTTP/1.1 431")
}

func TestEndlessHeadersAreCutOff(t *testing.T) {
	r := run(t, newOptions(t), nil)
	conn := dial(t, r.address(0))
	_ = conn.SetDeadline(time.Now().Add(patience))
	sent, err := io.Copy(conn, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nX: "), neverEnding('x')))
	if err == nil || sent > 64<<20 {
		t.Errorf("%d bytes were taken, error %v", sent, err)
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	r := run(t, newOptions(t), func(l *limits) { l.readHeader = 100 * time.Millisecond })
	conn := dial(t, r.address(0))
	_, _ = io.WriteString(conn, "GET /-/healthy HTTP/1.1\r\nHost: a\r\nX-Slow: ")
	_ = conn.SetReadDeadline(time.Now().Add(patience)) // The limit of the whole request is longer.
	rest, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(rest), " 200 ") {
		t.Errorf("%q, %v", rest, err)
	}
	// On a slow machine its own headers may be too slow, too.
	eventually(t, "the next client is served", func() bool {
		resp, err := http.Get(r.base + "/-/healthy")
		return err == nil && text(t, resp) != "" && resp.StatusCode == http.StatusOK
	})
}

func TestHugeBodies(t *testing.T) {
	opts := newOptions(t)
	agent := &fakeAgent{}
	opts.Agent = agent
	r := run(t, opts, nil)
	conn := dial(t, r.address(0))
	_, _ = io.WriteString(conn, "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n")
	if got, err := statusLine(conn); !strings.HasPrefix(got, "HTTP/1.1 413") {
		t.Errorf("announced: %q, %v", got, err)
	}
	if n := agent.reloads.Load(); n != 0 {
		t.Errorf("%d reloads", n)
	}

	// A body that does not say how long it is goes unread: the connection is closed instead.
	conn = dial(t, r.address(0))
	_, _ = io.WriteString(conn, "POST /-/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n")
	_ = conn.SetDeadline(time.Now().Add(patience))
	if sent, err := io.Copy(conn, neverEnding('x')); err == nil || sent > 64<<20 {
		t.Errorf("chunked: %d bytes were taken, error %v", sent, err)
	}
}

func TestGarbageRequests(t *testing.T) {
	r := run(t, newOptions(t), nil)
	for request, want := range map[string]string{
		"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n":                                            "HTTP/1.1 400",
		"GET /-/healthy HTTP/1.1\r\n\r\n":                                                 "HTTP/1.1 400",
		"GET / HTTP/9.9\r\nHost: a\r\n\r\n":                                               "HTTP/1.1 505",
		"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n":                                           "HTTP/1.1 400",
		"BREW /metrics HTTP/1.1\r\nHost: a\r\n\r\n":                                       "HTTP/1.1 405",
		"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n":                                             "HTTP/1.1 405",
		"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n":                                        "HTTP/1.1 404",
		"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n":                               "HTTP/1.1 307",
		"GET http://elsewhere.example/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n":             "HTTP/1.1 404",
		"POST /-/reload HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n":       "HTTP/1.1 403",
		"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n":                "HTTP/1.1 400",
		"POST /-/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0": "HTTP/1.1 501",
	} {
		conn := dial(t, r.address(0))
		_, _ = io.WriteString(conn, request)
		if got, err := statusLine(conn); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, %v; want %s", request, got, err, want)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	opts := newOptions(t)
	opts.MaxConnections = 2
	r := run(t, opts, nil)
	ask := func(i int) net.Conn {
		conn := dial(t, r.address(i))
		_, _ = io.WriteString(conn, "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
		return conn
	}
	first, second := ask(0), ask(1)
	for _, conn := range []net.Conn{first, second} {
		if got, err := statusLine(conn); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Fatalf("%q, %v", got, err)
		}
	}
	third := ask(0)
	_ = third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Errorf("a third connection was served %d bytes", n)
	}
	second.Close()
	if got, err := statusLine(third); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("once there is room: %q, %v", got, err)
	}
}

func TestProfileLongerThanTheTimeLimit(t *testing.T) {
	r := run(t, newOptions(t), func(l *limits) { l.write = time.Second })
	resp, err := http.Get(r.base + "/debug/pprof/profile?seconds=2")
	if err != nil {
		t.Fatal(err)
	}
	if body := text(t, resp); resp.StatusCode != http.StatusOK || body == "" {
		t.Errorf("%d with %d bytes", resp.StatusCode, len(body))
	}
}
