// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestListenErrors(t *testing.T) {
	taken, err := Listen([]string{"127.0.0.1:0"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(taken)
	address := taken[0].Addr().String()
	f := func(addresses []string, maxConnections int, want string) {
		t.Helper()
		listeners, err := Listen(addresses, maxConnections)
		if err == nil {
			closeAll(listeners)
			t.Fatalf("%v, %d: no error", addresses, maxConnections)
		}
		if !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, %d: %q, want %q", addresses, maxConnections, err, want)
		}
	}
	f([]string{address}, 1, "listen on "+address+": address already in use; is another agent running? choose another --web.listen-address")
	f([]string{"127.0.0.1:0", address}, 1, "listen on "+address+": address already in use;")
	f([]string{"127.0.0.1"}, 1, "listen on 127.0.0.1: address 127.0.0.1: missing port in address; choose another --web.listen-address")
	f([]string{"127.0.0.1:99999"}, 1, "listen on 127.0.0.1:99999: address 99999: invalid port; choose another --web.listen-address")
	f([]string{"192.0.2.77:0"}, 1, "listen on 192.0.2.77:0: ")
	f(nil, 1, "listen: no address given, use --web.listen-address")
	f([]string{"127.0.0.1:0"}, 0, "listen with at most 0 connections: --web.max-connections must be at least 1")
}

func TestListenBindsAllOrNone(t *testing.T) {
	var still error
	for range 10 { // Another process may take the address meanwhile.
		free, err := Listen([]string{"127.0.0.1:0"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		address := free[0].Addr().String()
		closeAll(free)
		if _, err := Listen([]string{address, "127.0.0.1:99999"}, 1); err == nil {
			t.Fatal("no error")
		}
		var again []net.Listener
		if again, still = Listen([]string{address}, 1); still == nil {
			closeAll(again)
			return
		}
	}
	t.Fatalf("the first address is still bound: %v", still)
}

// accepting hands out the connections that l accepts until it is closed.
func accepting(l net.Listener) <-chan net.Conn {
	conns := make(chan net.Conn)
	go func() {
		defer close(conns)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	return conns
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestListenersShareTheLimit(t *testing.T) {
	listeners, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(listeners)
	a, b := accepting(listeners[0]), accepting(listeners[1])

	// Two on one listener: an idle neighbour keeps no slot to itself.
	dial(t, listeners[0].Addr().String())
	dial(t, listeners[0].Addr().String())
	first, second := <-a, <-a
	defer second.Close()
	dial(t, listeners[1].Addr().String())
	select {
	case <-b:
		t.Fatal("a third connection is served")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // Gives back one slot, not two.
	third := <-b
	defer third.Close()
	dial(t, listeners[0].Addr().String())
	select {
	case <-a:
		t.Fatal("a fourth connection is served")
	case <-time.After(50 * time.Millisecond):
	}
	// The fourth waits for a slot; closing must not wait with it.
	closeAll(listeners)
	if _, ok := <-a; ok {
		t.Error("a connection after the close")
	}
	if _, ok := <-b; ok {
		t.Error("a connection after the close")
	}
}
