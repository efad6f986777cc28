// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(t.Context(), Options{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestEnd(t *testing.T) {
	p := shell(t, "echo $GREETING; echo one >&2; echo two; exit 3")
	code, err := p.Wait(10 * time.Second)
	if err != nil || code != 3 {
		t.Errorf("exit code is %d, %v, want 3", code, err)
	}
	if p.Output() != "hello\none\ntwo\n" || p.Tail(2) != "one\ntwo" {
		t.Errorf("output is %q, its tail %q", p.Output(), p.Tail(2))
	}
	if err := p.Until(t.Context(), func() error { return errors.New("not yet") }); err == nil {
		t.Error("Until goes on although the program has ended")
	}
}

func TestStop(t *testing.T) {
	p := shell(t, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Until(ctx, func() error {
		if p.Output() == "" {
			return errors.New("it has not started")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Memory(); err != nil || n == 0 {
		t.Errorf("it takes %d bytes, %v", n, err)
	}
	if code, err := p.Stop(10 * time.Second); err != nil || code != 0 {
		t.Errorf("it ended with %d, %v", code, err)
	}
}

// TestCloseEndsGrandchildren: nothing that the program has started outlives it.
func TestCloseEndsGrandchildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := shell(t, "sleep 1000 & echo $! >"+file+".new && mv "+file+".new "+file+"; wait")
	var pid string
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := Until(ctx, func() error {
		text, err := os.ReadFile(file)
		pid = strings.TrimSpace(string(text))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := Until(ctx, func() error {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			return nil
		}
		return errors.New("the grandchild lives")
	}); err != nil {
		t.Error(err)
	}
}

func TestSignal(t *testing.T) {
	p := shell(t, "sleep 1000")
	if _, err := p.Wait(time.Millisecond); err == nil {
		t.Error("Wait does not tell that the time is over")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(10 * time.Second); err != nil || code != -1 {
		t.Errorf("exit code of a killed program is %d, %v, want -1", code, err)
	}
}

func TestQuery(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") != "up" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"status":"error","error":"what?"}`))
			return
		}
		_, _ = w.Write([]byte(`{"status":"success","data":{"result":[{"metric":{"job":"a"},"value":[1.5,"42"]}]}}`))
	}))
	defer server.Close()
	found, err := Query(t.Context(), server.URL, "up")
	if err != nil || len(found) != 1 || found[0].Float() != 42 || found[0].Metric["job"] != "a" {
		t.Errorf("the result is %v, %v", found, err)
	}
	if _, err := Query(t.Context(), server.URL, "down"); err == nil || !strings.Contains(err.Error(), "what?") {
		t.Errorf("a bad query gives %v", err)
	}
}

// TestFreeAddress: the port can be listened on, again too, and nobody gets it who asks for any.
func TestFreeAddress(t *testing.T) {
	address, err := FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
	for range 1000 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		if listener.Addr().String() == address {
			t.Fatal("somebody else got it")
		}
	}
}

func TestFindsNothing(t *testing.T) {
	t.Setenv("TORCHBEARER_BIN", filepath.Join(t.TempDir(), "nothing"))
	if _, err := Torchbearer(); err == nil || !strings.Contains(err.Error(), "TORCHBEARER_BIN") {
		t.Errorf("a wrong TORCHBEARER_BIN gives %v", err)
	}
	t.Chdir(t.TempDir())
	if _, err := Neighbour("prometheus"); err == nil || !strings.Contains(err.Error(), "repository") {
		t.Errorf("outside of the repository: %v", err)
	}
}
