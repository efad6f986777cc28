// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
)

// rawServer answers each connection with what serve does with it; n counts them.
func rawServer(t *testing.T, serve func(n int, c net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c)
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/write"
}

// readRequest reads a whole request of a connection.
func readRequest(c net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

const (
	good   = "HTTP/1.1 204 No Content\r\n\r\n"
	broken = "connection reset|broken pipe|EOF|closed network connection"
)

// TestWaysOfFailing lets a receiver fail in each way, and be well after that.
func TestWaysOfFailing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve  func(c net.Conn)
		status int
		says   string
		hasty  bool // the client does not wait for long
	}{
		"hangs": {
			serve: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
			says:  "no answer within 300ms",
			hasty: true,
		},
		"resets before the request": {serve: reset, says: broken},
		"resets within the request": {serve: func(c net.Conn) {
			_, _ = c.Read(make([]byte, 20))
			reset(c)
		}, says: broken},
		"resets after the request": {serve: func(c net.Conn) {
			readRequest(c)
			reset(c)
		}, says: broken},
		"closes after the request": {serve: readRequest, says: "EOF"},
		"half a header": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 204 No Con")
		}, says: "malformed|EOF"},
		"half a header with a status": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nContent-Le")
		}, says: "malformed|EOF"},
		"no HTTP": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.9\r\n")
		}, says: "malformed"},
		"half a body of a success": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nOK")
		}, status: 200, says: "the answer broke off"},
		"half a body of a refusal": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nout of")
		}, status: 400, says: "the answer broke off"},
		"resets within the body": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nOK")
			time.Sleep(10 * time.Millisecond) // So that the header has arrived.
			reset(c)
		}, status: 200, says: "the answer broke off"},
		"endless header": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := fmt.Fprintf(c, "X-More: %s\r\n", strings.Repeat("x", 4000)); err != nil {
					return
				}
			}
		}, says: "server response headers exceeded"},
		"endless refusal": {serve: func(c net.Conn) {
			readRequest(c)
			fmt.Fprint(c, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
			for {
				if _, err := fmt.Fprint(c, strings.Repeat("wait ", 1000)); err != nil {
					return
				}
			}
		}, status: 503, says: "wait wait"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := rawServer(t, func(n int, conn net.Conn) {
				if n < 2 {
					c.serve(conn)
					return
				}
				readRequest(conn)
				fmt.Fprint(conn, good)
			})
			s, registry := quick(t)
			set := settingsFor(t, address, false)
			if c.hasty {
				set.client.timeout = 300 * time.Millisecond
			}
			if err := s.deliver(t.Context(), set, makePoints(3, 1), &fates{}); err != nil {
				t.Fatal(err)
			}
			state := s.state.snapshot()
			found := false
			for says := range strings.SplitSeq(c.says, "|") {
				found = found || strings.Contains(state.LastError, says)
			}
			if !found || state.LastStatus != c.status {
				t.Errorf("the last error has status %d and says %q, want %d and %q", state.LastStatus, state.LastError, c.status, c.says)
			}
			if state.LastSuccess.IsZero() || !state.FailingSince.IsZero() || state.InFlight != 0 {
				t.Errorf("after a success the state is %+v", state)
			}
			want := 6.0
			if c.hasty { // More when the good answer comes late, too.
				want = max(want, value(t, registry, "prometheus_remote_storage_samples_total")-3)
			}
			if got := value(t, registry, "prometheus_remote_storage_samples_retried_total"); got != want {
				t.Errorf("%v samples counted as retried, want %v", got, want)
			}
			if got := value(t, registry, "prometheus_remote_storage_samples_failed_total"); got != 0 {
				t.Errorf("%v samples counted as failed", got)
			}
		})
	}
}

// A success whose body does not end is a success: the body is not read for long.
func TestEndlessAndSlowBodies(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(c net.Conn){
		"endless": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
			for {
				if _, err := fmt.Fprint(c, strings.Repeat("OK ", 1000)); err != nil {
					return
				}
			}
		},
		"slow": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
			for {
				if _, err := fmt.Fprint(c, "."); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rw := route(t, "http://receiver.invalid/")
				rw.RemoteTimeout = model.Duration(200 * time.Millisecond)
				c := clientFor(t, rw)
				var serving sync.WaitGroup
				defer serving.Wait()
				c.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					serving.Go(func() {
						defer far.Close()
						readRequest(far)
						serve(far)
					})
					return near, nil
				}}
				begun := time.Now()
				if a := c.post(t.Context(), false, nil, 0); a.verdict != stored || time.Since(begun) > 200*time.Millisecond {
					t.Errorf("got %+v after %v", a, time.Since(begun))
				}
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	login := newInbox(t, always(200))
	in := newInbox(t, func(n int, _ *letter) reply {
		if n < 2 {
			return reply{status: 302 + n*5, header: map[string]string{"Location": login.URL + "/login?next=secret"}}
		}
		return reply{status: 204}
	})
	s, _ := quick(t)
	rw := route(t, in.URL)
	rw.HTTPClientConfig.FollowRedirects = true
	set := settingsFor(t, in.URL, false)
	set.client = clientFor(t, rw)
	if err := s.deliver(t.Context(), set, makePoints(3, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 3, 1)
	if login.requests() != 0 {
		t.Error("the redirect was followed")
	}
	if got := s.state.snapshot().LastError; got != "HTTP status 307: redirects to "+login.URL+"/login" {
		t.Errorf("the last error is %q", got)
	}
}

func TestReceiverThatIsGoneAndComesBack(t *testing.T) {
	t.Parallel()
	// Nobody else has this address, so nobody takes the port meanwhile.
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.1.4:0")
	if err != nil {
		t.Skipf("no such loopback address here: %v", err)
	}
	address := l.Addr().String()
	l.Close()
	s, _ := quick(t)
	set := settingsFor(t, "http://"+address, false)
	done := make(chan error, 1)
	go func() { done <- s.deliver(t.Context(), set, makePoints(3, 1), &fates{}) }()
	eventually(t, func() bool { return strings.Contains(s.state.snapshot().LastError, "connection refused") })
	in := unstartedInbox(t, always(204))
	in.Listener.Close()
	if in.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", address); err != nil {
		t.Skipf("the port was taken by another: %v", err)
	}
	in.Start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantStored(t, in, 3, 1)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass within a minute")
		}
	}
}

// The name of a receiver leads to another address after the first one has died.
func TestAddressThatChanges(t *testing.T) {
	t.Parallel()
	first, second := newInbox(t, always(204)), newInbox(t, always(204))
	var now atomic.Pointer[inbox]
	now.Store(first)
	set := settingsFor(t, "http://receiver.invalid/write", false)
	set.client.http.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, now.Load().Listener.Addr().String())
	}}
	s, _ := quick(t)
	if err := s.deliver(t.Context(), set, makePoints(3, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	first.CloseClientConnections()
	first.Listener.Close()
	now.Store(second)
	if err := s.deliver(t.Context(), set, makePoints(3, 1), &fates{}); err != nil {
		t.Fatal(err)
	}
	wantStored(t, first, 3, 1)
	wantStored(t, second, 3, 1)
}

func TestRoundRobinDNS(t *testing.T) {
	t.Parallel()
	var at [3]atomic.Int64
	port := 0
	for i := range at {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.1.%d:%d", i+1, port))
		if err != nil {
			t.Skipf("no such loopback addresses here: %v", err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			at[i].Add(1)
			w.WriteHeader(http.StatusNoContent)
		}), ReadHeaderTimeout: time.Minute}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
	}
	dns := &roundRobin{lookup: func(_ context.Context, host string) ([]string, error) {
		if host != "receiver.invalid" {
			return nil, fmt.Errorf("asked for %s", host)
		}
		return []string{"127.0.1.1", "127.0.1.2", "127.0.1.3"}, nil
	}}
	c := clientFor(t, route(t, fmt.Sprintf("http://receiver.invalid:%d/", port)))
	c.http.Transport = &http.Transport{DialContext: dns.dial}
	for range 60 {
		if a := c.post(t.Context(), false, nil, 0); a.verdict != stored {
			t.Fatalf("%+v", a)
		}
		c.close()
	}
	for i := range at {
		if at[i].Load() == 0 {
			t.Errorf("address %d was never asked", i)
		}
	}
	rw := route(t, newInbox(t, always(204)).URL)
	rw.RoundRobinDNS = true
	if a := clientFor(t, rw).post(t.Context(), false, []byte{0}, 0); a.verdict != stored {
		t.Errorf("with round_robin_dns: %+v", a)
	}
}
