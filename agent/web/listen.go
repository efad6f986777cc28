// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// errnoAddrInUseWindows is what Windows says where others say EADDRINUSE.
const errnoAddrInUseWindows = syscall.Errno(10048)

// Listen binds every address, or none. Over all of them at most maxConnections connections are served at once; one more for
// each address may be accepted and waits. An error says what the user can do about it in one line.
func Listen(addresses []string, maxConnections int) ([]net.Listener, error) {
	if maxConnections < 1 {
		return nil, fmt.Errorf("listen with at most %d connections: --web.max-connections must be at least 1", maxConnections)
	}
	if len(addresses) == 0 {
		return nil, errors.New("listen: no address given, use --web.listen-address")
	}
	slots := make(chan struct{}, maxConnections)
	listeners := make([]net.Listener, 0, len(addresses))
	for _, address := range addresses {
		var binder net.ListenConfig
		l, err := binder.Listen(context.Background(), "tcp", address)
		if err != nil {
			closeAll(listeners)
			return nil, listenError(address, err)
		}
		listeners = append(listeners, &limitListener{Listener: l, slots: slots, closed: make(chan struct{})})
	}
	return listeners, nil
}

func listenError(address string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && (errno == syscall.EADDRINUSE || errno == errnoAddrInUseWindows) {
		return fmt.Errorf("listen on %s: %w; is another agent running? choose another --web.listen-address", address, errno)
	}
	// The operation and the address are said already; net would say them again.
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return fmt.Errorf("listen on %s: %w; choose another --web.listen-address", address, err)
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // The port is free afterwards in any case.
	}
}

// limitListener takes a slot for each connection it hands out. Unlike netutil.LimitListener it takes the slot after the
// accept: listeners that share slots would otherwise hold one each while nobody calls.
type limitListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case l.slots <- struct{}{}:
		return &limitConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
	case <-l.closed:
		_ = conn.Close() // Nobody has written to it.
		return nil, net.ErrClosed
	}
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	release func()
}

func (c *limitConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
