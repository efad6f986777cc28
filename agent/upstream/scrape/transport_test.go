// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/trace"
)

// Headers and bodies may be larger than the buffers of a connection, which is used
// again, counted, and has no log of events.
func TestALeanConnectionIsAConnection(t *testing.T) {
	long := strings.Repeat("x", 10*answerBuffer)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Long", r.Header.Get("Long"))
		io.WriteString(w, long)
	}))
	defer server.Close()
	name := t.Name()
	client, err := newScrapeClient(config_util.HTTPClientConfig{}, name)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	for range 3 {
		request, err := http.NewRequest(http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Long", long)
		response, err := client.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, long, string(body))
		require.Equal(t, long, response.Header.Get("Long"))
	}
	require.Equal(t, 1.0, dialed(t, name))
	events := httptest.NewRecorder()
	trace.RenderEvents(events, httptest.NewRequest(http.MethodGet, "/debug/events", http.NoBody), true)
	require.NotContains(t, events.Body.String(), name)
}

// dialed is how many connections conntrack has counted under a name.
func dialed(t *testing.T, name string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "net_conntrack_dialer_conn_established_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == name {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

var errNotDialed = errors.New("not dialed")

func refuseToDial(context.Context, string, string) (net.Conn, error) { return nil, errNotDialed }

// Another dialer, as that of a Unix socket, stays.
func TestALeanConnectionIsDialedAsWanted(t *testing.T) {
	client, err := newScrapeClient(config_util.HTTPClientConfig{}, t.Name(), config_util.WithDialContextFunc(refuseToDial))
	require.NoError(t, err)
	_, err = client.Get("http://127.0.0.1:1/metrics")
	require.ErrorIs(t, err, errNotDialed)
}

// BenchmarkConnections tells what a connection takes, with its end in the server:
//
//	go test -run '^$' -bench Connections -benchtime 1000x ./agent/upstream/scrape
func BenchmarkConnections(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") }))
	defer server.Close()
	b.ReportAllocs()
	for b.Loop() {
		client, err := newScrapeClient(config_util.HTTPClientConfig{}, b.Name())
		require.NoError(b, err)
		response, err := client.Get(server.URL)
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(b, err)
		require.NoError(b, response.Body.Close())
		client.CloseIdleConnections()
	}
}
