// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestEndlessBody: of a body that never ends no more is read than the limit and a little; to read on until the scrape's
// timeout took a whole core for as long.
func TestEndlessBody(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	metrics, err := newScrapeMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &targetScraper{bodySizeLimit: 1 << 20, metrics: metrics}
	resp, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}

	read := make(chan error, 1)
	go func() {
		_, err := s.readResponse(t.Context(), resp, io.Discard)
		read <- err
	}()
	patience := time.After(30 * time.Second)
	select {
	case err := <-read:
		if !errors.Is(err, errBodySizeLimit) {
			t.Errorf("the error is %v, want %v", err, errBodySizeLimit)
		}
	case <-patience:
		resp.Body.Close()
		t.Fatal("it reads on after the limit")
	}
	select {
	case <-ended:
	case <-patience:
		t.Error("the target sends on after the limit")
	}
}

// TestDrainsShortRest: what is left of a short answer is read, so that the next scrape has the same connection.
func TestDrainsShortRest(t *testing.T) {
	var from []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.RemoteAddr)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(make([]byte, maxDrained/2)) // It is read, or the next request comes from elsewhere.
	}))
	defer server.Close()
	s := &targetScraper{}
	for range 2 {
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.readResponse(t.Context(), resp, io.Discard); err == nil {
			t.Error("503 is no error")
		}
	}
	if len(from) != 2 || from[0] != from[1] {
		t.Errorf("the requests came from %v, want one connection", from)
	}
}
