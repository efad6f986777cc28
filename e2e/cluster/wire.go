// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// Wire carries TCP connections to the API server or to something else in a cluster; it counts what comes back, and can
// be cut. Its methods may be called from any goroutine.
type Wire struct {
	listener net.Listener
	target   string
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	received atomic.Int64
	tasks    sync.WaitGroup

	mu     sync.Mutex // guards all below
	cut    chan struct{}
	open   map[net.Conn]struct{}
	closed bool
}

// StartWire makes a wire to this API server; the caller has to Close it.
func (c *ControlPlane) StartWire() (*Wire, error) { return c.StartWireTo(c.address) }

// StartWireTo makes a wire to host:port as programs of the cluster see it; the caller has to Close it.
func (c *ControlPlane) StartWireTo(target string) (*Wire, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Wire{
		listener: listener, target: target, dial: c.place.dial,
		cut: make(chan struct{}), open: map[net.Conn]struct{}{},
	}
	close(w.cut) // Closed is passable.
	w.tasks.Go(w.accept)
	return w, nil
}

// Address is where the wire begins: host:port of this machine.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// URL is the server of kubeconfigs.
func (w *Wire) URL() string { return "https://" + w.Address() }

// Received is the number of bytes that clients have got.
func (w *Wire) Received() int64 { return w.received.Load() }

// Cut lets nothing pass any more, as when a cable is pulled: connections stay, and are silent; new ones are silent
// from the start.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.cut:
		w.cut = make(chan struct{})
	default: // It is cut already.
	}
}

// Mend lets everything pass again. What was under way is lost: connections of before are reset.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
	select {
	case <-w.cut:
	default:
		close(w.cut)
	}
}

func (w *Wire) drop() {
	for c := range w.open {
		_ = c.Close() // Its end is all that matters.
	}
}

// Close ends all connections and waits for those who serve them.
func (w *Wire) Close() error {
	err := w.listener.Close()
	w.mu.Lock()
	w.closed = true
	w.drop()
	w.mu.Unlock()
	w.Mend()
	w.tasks.Wait()
	return err
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.tasks.Go(func() { w.serve(client) })
	}
}

func (w *Wire) serve(client net.Conn) {
	if !w.keep(client) {
		return
	}
	defer w.forget(client)
	w.wait()
	server, err := w.dial(context.Background(), "tcp", w.target)
	if err != nil || !w.keep(server) {
		return
	}
	defer w.forget(server)
	var both sync.WaitGroup
	both.Go(func() { w.carry(server, client, nil) })
	both.Go(func() { w.carry(client, server, &w.received) })
	both.Wait()
}

// carry copies until one side ends, which ends the other.
func (w *Wire) carry(to, from net.Conn, count *atomic.Int64) {
	defer func() { _ = errors.Join(to.Close(), from.Close()) }() // Their end is all that matters.
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.wait()
		if n > 0 {
			if count != nil {
				count.Add(int64(n))
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns when the wire is passable.
func (w *Wire) wait() {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	<-cut
}

func (w *Wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = c.Close() // Its end is all that matters.
		return false
	}
	w.open[c] = struct{}{}
	return true
}

func (w *Wire) forget(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	_ = c.Close() // Its end is all that matters.
}
