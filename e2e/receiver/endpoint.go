// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// endpoint is where a receiver listens.
type endpoint struct {
	server *http.Server
	served chan error
	url    string
}

func (e *endpoint) listen(address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	e.url = "http://" + listener.Addr().String() + "/api/v1/write"
	e.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	e.served = make(chan error, 1)
	go func() { e.served <- e.server.Serve(listener) }()
	return nil
}

// URL is the address to write to, for use after Listen.
func (e *endpoint) URL() string { return e.url }

// Close ends the listener and all requests, and waits until the server has ended.
func (e *endpoint) Close() error {
	if e.server == nil {
		return nil
	}
	err := e.server.Close()
	if served := <-e.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	e.server = nil
	return err
}
