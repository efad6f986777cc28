// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// running is a server on two real ports.
type running struct {
	*Server
	base   string // URL of the first port.
	cancel context.CancelFunc
	ended  chan error
}

// run starts a server with the limits as change leaves them and stops it when the test ends. Whatever the test says, Run
// must return nil.
func run(t *testing.T, opts Options, change func(*limits)) *running {
	t.Helper()
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 64
	}
	listeners, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, opts.MaxConnections)
	if err != nil {
		t.Fatal(err)
	}
	opts.Listeners = listeners
	l := defaultLimits(opts.MaxConnections)
	if change != nil {
		change(&l)
	}
	s, err := newServer(opts, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, base: "http://" + listeners[0].Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		r.end(t)
	})
	return r
}

// end stops the server, once, and waits for it.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err, ok := <-r.ended:
		if ok && err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		t.Error("Run does not end")
		return
	}
	select {
	case <-r.ended:
	default:
		close(r.ended)
	}
}

func (r *running) address(i int) string { return r.opts.Listeners[i].Addr().String() }

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text(t, resp)
}

func TestRunServesAllListeners(t *testing.T) {
	r := run(t, newOptions(t), nil)
	for i := range r.opts.Listeners {
		if code, body := get(t, "http://"+r.address(i)+"/-/healthy"); code != 200 || body != "Torchbearer is Healthy.\n" {
			t.Errorf("listener %d: %d %q", i, code, body)
		}
	}
	r.end(t)
	for i := range r.opts.Listeners {
		if _, err := net.Dial("tcp", r.address(i)); err == nil {
			t.Errorf("listener %d is still open", i)
		}
	}
}

func TestRunWithoutListeners(t *testing.T) {
	if err := newTestServer(t, newOptions(t)).Run(context.Background()); err == nil {
		t.Error("no error")
	}
}

func TestRunWhenAListenerFails(t *testing.T) {
	opts := newOptions(t)
	listeners, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, 4)
	if err != nil {
		t.Fatal(err)
	}
	opts.Listeners = []net.Listener{listeners[0], listeners[1], brokenListener{listeners[0]}}
	err = newTestServer(t, opts).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "serve HTTP on 127.0.0.1:") || !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

var errBroken = errors.New("broken for a test")

type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errBroken }

func TestNewClosesItsListenersWhenItFails(t *testing.T) {
	opts := newOptions(t)
	listeners, err := Listen([]string{"127.0.0.1:0"}, 4)
	if err != nil {
		t.Fatal(err)
	}
	opts.Listeners, opts.RoutePrefix = listeners, "no slash"
	if _, err := New(opts); err == nil {
		t.Fatal("no error")
	}
	if _, err := listeners[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener still accepts: %v", err)
	}
}

// blockedReload is an agent whose reload waits for its context, or for release.
func blockedReload() (agent *fakeAgent, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	return &fakeAgent{reload: func(ctx context.Context) error {
		close(arrived)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-release:
			return nil
		}
	}}, arrived, release
}

// post sends a reload and delivers its status code, 0 for none.
func post(url string) <-chan int {
	code := make(chan int, 1)
	go func() {
		resp, err := http.Post(url, "", nil)
		if err != nil {
			code <- 0
			return
		}
		resp.Body.Close()
		code <- resp.StatusCode
	}()
	return code
}

func TestShutdownWaitsForARequest(t *testing.T) {
	agent, arrived, release := blockedReload()
	opts := newOptions(t)
	opts.Agent = agent
	r := run(t, opts, func(l *limits) { l.grace = patience })
	code := post(r.base + "/-/reload")
	<-arrived
	r.cancel()
	eventually(t, "no new connections", func() bool {
		conn, err := net.Dial("tcp", r.address(1))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if c := <-code; c != 200 {
		t.Errorf("the request under way got %d", c)
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	agent, arrived, _ := blockedReload()
	opts := newOptions(t)
	opts.Agent = agent
	r := run(t, opts, func(l *limits) { l.grace = 2 * time.Second }) // Also the time that the handler has to return.
	code := post(r.base + "/-/reload")
	<-arrived
	r.end(t) // Which does not wait for ever, as the handler would.
	if c := <-code; c == 200 {
		t.Error("a reload that was broken off answered 200")
	}
	if n := r.inflight.Load(); n != 0 {
		t.Errorf("%d handlers are left", n)
	}
}

// syncBuffer is a log that many may write to.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestShutdownLeavesADeafHandlerBehind(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var logged syncBuffer
	opts := newOptions(t)
	opts.Logger = log.NewLogfmtLogger(&logged)
	opts.Agent = &fakeAgent{reload: func(context.Context) error { close(arrived); <-release; return nil }}
	r := run(t, opts, func(l *limits) { l.grace = 50 * time.Millisecond })
	code := post(r.base + "/-/reload")
	<-arrived
	r.end(t)
	if !strings.Contains(logged.String(), "still under way") {
		t.Errorf("nothing said about it: %s", logged.String())
	}
	close(release)
	<-code
	eventually(t, "the handler to return", func() bool { return r.inflight.Load() == 0 })
}

func TestReloadOutlivesItsClient(t *testing.T) {
	agent, arrived, release := blockedReload()
	reload, result := agent.reload, make(chan error, 1)
	agent.reload = func(ctx context.Context) error {
		err := reload(ctx)
		result <- err
		return err
	}
	opts := newOptions(t)
	opts.Agent = agent
	// Also longer than an answer may take to be written.
	r := run(t, opts, func(l *limits) { l.write = 50 * time.Millisecond })
	conn := dial(t, r.address(0))
	_, _ = io.WriteString(conn, "POST /-/reload HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	conn.Close()
	select {
	case err := <-result:
		t.Fatalf("the reload ended with its client: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestReloadLongerThanTheTimeLimits(t *testing.T) {
	agent, arrived, release := blockedReload()
	opts := newOptions(t)
	// Both are long enough for a request, and an answer, of a slow machine.
	opts.Agent, opts.ReadTimeout = agent, 2*time.Second
	r := run(t, opts, func(l *limits) { l.write = 2 * time.Second })
	code := post(r.base + "/-/reload")
	<-arrived
	time.AfterFunc(3*time.Second, func() { close(release) })
	if c := <-code; c != 200 {
		t.Errorf("code %d", c)
	}
}

// statusLine reads the status line that a raw connection gets, or why it gets none.
func statusLine(conn net.Conn) (string, error) {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return bufio.NewReader(conn).ReadString('\n')
}
