// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"math/rand/v2"
	"net"
)

// roundRobin connects to any one of the addresses of a name, so that connections
// spread over all of them. The zero value asks the system's resolver.
type roundRobin struct {
	lookup func(ctx context.Context, host string) ([]string, error)
	dialer net.Dialer
}

func (r *roundRobin) dial(ctx context.Context, network, address string) (net.Conn, error) {
	lookup := r.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		if found, err := lookup(ctx, host); err == nil && len(found) > 0 {
			address = net.JoinHostPort(found[rand.IntN(len(found))], port) //nolint:gosec // Nothing is kept secret by it.
		}
	}
	return r.dialer.DialContext(ctx, network, address)
}
