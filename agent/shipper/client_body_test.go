// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// hasty answers before it has read the body, with a status and then a reset.
func hasty(t *testing.T, status string, read int) (address string) {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, bufio.NewReader(conn), int64(read))
			_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			time.Sleep(time.Millisecond)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

// What is still being sent when the answer is there is not touched any more:
// the memory is for the next request. Means something with -race.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	for name, status := range map[string]string{"413": "413 Too Large", "500": "500 Oh", "200": "200 OK"} {
		t.Run(name, func(t *testing.T) {
			c := clientFor(t, route(t, hasty(t, status, 64<<10)))
			body := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than a socket takes
			for range 20 {
				a := c.post(t.Context(), false, body, 0)
				if a.verdict == park {
					t.Fatalf("verdict %s: %s", a.verdict, a.String())
				}
				for i := 0; i < len(body); i += 4096 {
					body[i]++
				}
			}
		})
	}
}

func TestTimeoutBeforeTheBodyIsSent(t *testing.T) {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(stop) })
	c := clientFor(t, route(t, s.URL))
	c.timeout = 5 * time.Millisecond
	body := make([]byte, 8<<20)
	for range 10 {
		if a := c.post(t.Context(), false, body, 0); a.verdict != retry {
			t.Fatalf("verdict %s: %s", a.verdict, a.String())
		}
		for i := 0; i < len(body); i += 4096 {
			body[i]++
		}
	}
}

func TestSendBody(t *testing.T) {
	b := newSendBody([]byte("abcdef"))
	first := b.open()
	start := make([]byte, 2)
	if _, err := io.ReadFull(first, start); err != nil || string(start) != "ab" {
		t.Errorf("%q, %v", start, err)
	}
	if all, err := io.ReadAll(b.open()); err != nil || string(all) != "abcdef" {
		t.Errorf("read again: %q, %v", all, err)
	}
	b.end()
	if _, err := io.ReadAll(first); !errors.Is(err, errBodyOver) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := io.ReadAll(b.open()); !errors.Is(err, errBodyOver) {
		t.Errorf("opened after the end: %v", err)
	}
}
