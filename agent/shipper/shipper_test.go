// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"

	"torchbearer/agent/wal"
	"torchbearer/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is a shipper behind an open log, and what it logged.
type pipe struct {
	*Shipper

	log   *wal.Log
	lines *syncBuffer
}

func newPipe(t *testing.T, flushDeadline time.Duration) *pipe {
	t.Helper()
	dir, reg := t.TempDir(), prometheus.NewRegistry()
	p := &pipe{lines: &syncBuffer{}}
	p.Shipper = New(Options{
		Dir: dir, Logger: log.NewLogfmtLogger(p.lines), Registry: reg, FlushDeadline: flushDeadline,
		Library: slog.New(slog.NewTextHandler(p.lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	p.log = wal.New(wal.Options{
		Dir: dir, Logger: log.NewNopLogger(), Library: promslog.NewNopLogger(), Registry: reg,
		Follower: p.Shipper, Sent: p.Storage(),
	})
	if err := p.log.Open(); err != nil {
		t.Fatal(err)
	}
	return p
}

// commit writes n samples of one series, a millisecond apart from begin on.
func (p *pipe) commit(t *testing.T, begin time.Time, n int) {
	t.Helper()
	app := p.log.AppenderV2(t.Context())
	for i := range n {
		if _, err := app.Append(0, labels.FromStrings("__name__", "app"), 0, begin.UnixMilli()+int64(i), 1, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (p *pipe) close(t *testing.T) error {
	t.Helper()
	if err := p.log.Close(); err != nil {
		t.Fatal(err)
	}
	return p.Close(context.Background())
}

type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func to(t *testing.T, destination string) *config.Config {
	t.Helper()
	prom, err := promconfig.Load("global:\n  external_labels: {clustername: aks-1, environment: prod}\nremote_write:\n- url: "+destination+"\n", promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{Prometheus: prom, Agent: config.Agent{RequiredLabels: []string{"clustername", "environment"}}}
}

func TestCloseSendsWhatTheLogHolds(t *testing.T) {
	var mu sync.Mutex
	bodies := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		bodies++
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	p := newPipe(t, 5*time.Second)
	if err := p.Apply(to(t, receiver.URL)); err != nil {
		t.Fatal(err)
	}
	p.commit(t, time.Now().Add(time.Minute), 10)
	if err := p.close(t); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if bodies == 0 {
		t.Error("nothing was sent before Close returned")
	}
	if got := sum(p.metrics, recordsRead); got != 0 {
		t.Errorf("%g records are still counted for readers that are gone", got)
	}
}

func TestCommitsNeverWaitForAReloadThatWaitsForAReceiver(t *testing.T) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
	}))
	defer receiver.Close()
	p := newPipe(t, 3*time.Second)
	if err := p.Apply(to(t, receiver.URL+"/one\n  queue_config: {batch_send_deadline: 10ms}")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(time.Minute)
	p.commit(t, begin, 10)
	<-asked

	applied := make(chan error, 1)
	go func() { applied <- p.Apply(to(t, receiver.URL+"/two")) }()
	// The reload holds the library's lock as soon as a Notify blocks on it; the
	// commits below must end whether it does already or not.
	for i := range 200 {
		start := time.Now()
		p.commit(t, begin.Add(time.Duration(i+1)*time.Second), 10)
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("commit %d took %s during a reload", i, took)
		}
	}
	select {
	case err := <-applied:
		t.Fatalf("the reload ended with %v before its receiver answered: nothing was tested", err)
	default:
	}
	close(release)
	if err := <-applied; err != nil {
		t.Error(err)
	}
	if err := p.close(t); err != nil {
		t.Error(err)
	}
}

func TestCloseGivesUpAtTheDeadlineAndSaysWhatIsLost(t *testing.T) {
	release := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) { <-release }))
	defer receiver.Close()
	p := newPipe(t, 500*time.Millisecond)
	if err := p.Apply(to(t, receiver.URL)); err != nil {
		t.Fatal(err)
	}
	p.commit(t, time.Now().Add(time.Minute), 10)
	begin := time.Now()
	err := p.close(t)
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("Close took %s with a flush deadline of 500ms", took)
	}
	if err != nil && !errors.Is(err, ErrDeadline) {
		t.Errorf("Close returned %v", err)
	}
	if logged := p.lines.String(); !strings.Contains(logged, "failedSampleCount=10") {
		t.Errorf("the log does not tell of what is lost:\n%s", logged)
	}
	close(release)
}

func TestAFailedApplyLeavesTheDestinationsRunning(t *testing.T) {
	got := make(chan struct{}, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		got <- struct{}{}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	good := receiver.URL + "\n  queue_config: {batch_send_deadline: 10ms}"
	p := newPipe(t, time.Second)
	if err := p.Apply(to(t, good)); err != nil {
		t.Fatal(err)
	}
	bad := to(t, good+"\n- url: https://127.0.0.1:1/bad\n  tls_config: {ca_file: /does/not/exist}")
	if err := p.Apply(bad); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/bad") {
		t.Fatalf("Apply returned %v, want an error that names the destination", err)
	}
	if err := p.Apply(to(t, good)); err != nil {
		t.Fatalf("setting back: %v", err)
	}
	p.commit(t, time.Now().Add(time.Minute), 1)
	select {
	case <-got:
	case <-time.After(10 * time.Second):
		t.Error("nothing is sent any more")
	}
	if err := p.close(t); err != nil {
		t.Error(err)
	}
}

func TestTwoDestinationsThatTheLibraryCannotTellApartAreRefused(t *testing.T) {
	p := newPipe(t, time.Second)
	twice := to(t, "http://user:one@127.0.0.1:1/w\n- url: http://127.0.0.1:1/w\n  basic_auth: {username: user, password: two}")
	for _, err := range []error{p.Check(twice), p.Apply(twice)} {
		if err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("got %v", err)
		}
	}
	if err := p.close(t); err != nil {
		t.Error(err)
	}
}

func TestPasswordsInURLsAreNeitherLoggedNorShown(t *testing.T) {
	user := make(chan string, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		user <- name + ":" + password
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer receiver.Close()
	p := newPipe(t, time.Second)
	withUser := strings.Replace(receiver.URL, "http://", "http://user:hunter2@", 1)
	if err := p.Apply(to(t, withUser+"\n  queue_config: {batch_send_deadline: 10ms}")); err != nil {
		t.Fatal(err)
	}
	p.commit(t, time.Now().Add(time.Minute), 1)
	if got := <-user; got != "user:hunter2" {
		t.Errorf("the receiver was asked as %q", got)
	}
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), "hunter2") {
			t.Errorf("the password is in metric %s", f.GetName())
		}
	}
	_ = p.close(t) // The receiver takes nothing.
	if logged := p.lines.String(); strings.Contains(logged, "hunter2") {
		t.Errorf("the password is in the log:\n%s", logged)
	}
}
