// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// A sink takes Remote Write 2.0 and counts samples, as fast as it can.
type sink struct {
	url     string
	samples atomic.Int64
}

func startSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		body, err = snappy.Decode(nil, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	n := 0
	eachMessage(body, 5, func(series []byte) { eachMessage(series, 2, func([]byte) { n++ }) })
	s.samples.Add(int64(n))
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(n))
	w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	w.WriteHeader(http.StatusNoContent)
}

// eachMessage calls f with each message of that number, up to what is none.
func eachMessage(b []byte, number protowire.Number, f func([]byte)) {
	for len(b) > 0 {
		got, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if got == number && kind == protowire.BytesType {
			message, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			f(message)
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(got, kind, b); n < 0 {
			return
		}
		b = b[n:]
	}
}
