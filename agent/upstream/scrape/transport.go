// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"net/http"

	"github.com/mwitkow/go-conntrack"
)

// This file is Torchbearer's.

const (
	// requestBuffer has room for a scrape's request.
	requestBuffer = 1 << 10
	// answerBuffer has room for an answer's header. Of its body as much is read at a
	// time as there is room for behind it.
	answerBuffer = 2 << 10
)

// leanTransport lets each connection to a target, of which there is one for as
// long as the target is there, take 12 KB less than NewClientFromConfig does: it
// has smaller buffers, and no log of its events, which only /debug/events would
// show. Connections are counted as before. It does so where rt is the transport
// itself, so not where there is authentication. With itsDialer it is the one of
// NewClientFromConfig that dials.
func leanTransport(rt http.RoundTripper, name string, itsDialer bool) {
	transport, ok := rt.(*http.Transport)
	if !ok {
		return
	}
	transport.WriteBufferSize, transport.ReadBufferSize = requestBuffer, answerBuffer
	if itsDialer {
		transport.DialContext = conntrack.NewDialContextFunc(conntrack.DialWithName(name))
	}
}
